// Bindings of every kernel. Those that compute four words in each thread read and write them as vectors: a kernel's piece
// `operands_*` says which.

@group(0) @binding(0) var<uniform> params: KernelParams;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> primes: array<Prime>;
@group(0) @binding(3) var<storage, read> twiddles: array<Factor>;
@group(0) @binding(4) var<storage, read_write> out: array<Operand>;
@group(0) @binding(5) var<storage, read> x: array<XOperand>;
@group(0) @binding(6) var<storage, read> y: array<Operand>;
@group(0) @binding(7) var<storage, read> z: array<Operand>;
@group(0) @binding(8) var<storage, read> w: array<Operand>;

fn out_at(limb: LimbEntry, row: RowEntry) -> u32 {
    return row.out_offset + limb.out_offset;
}

fn x_at(limb: LimbEntry, row: RowEntry) -> u32 {
    return row.x_offset + limb.x_offset;
}

fn y_at(limb: LimbEntry, row: RowEntry) -> u32 {
    return row.y_offset + limb.y_offset;
}
