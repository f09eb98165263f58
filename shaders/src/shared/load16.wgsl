// Sixteen words of a limb, `stride` apart.
fn load16(limb: Limb, row: RowEntry, first: u32, stride: u32, p: Prime) -> array<u32, 16> {
    return array<u32, 16>(
        load(limb, row, first, p),
        load(limb, row, first + stride, p),
        load(limb, row, first + 2u * stride, p),
        load(limb, row, first + 3u * stride, p),
        load(limb, row, first + 4u * stride, p),
        load(limb, row, first + 5u * stride, p),
        load(limb, row, first + 6u * stride, p),
        load(limb, row, first + 7u * stride, p),
        load(limb, row, first + 8u * stride, p),
        load(limb, row, first + 9u * stride, p),
        load(limb, row, first + 10u * stride, p),
        load(limb, row, first + 11u * stride, p),
        load(limb, row, first + 12u * stride, p),
        load(limb, row, first + 13u * stride, p),
        load(limb, row, first + 14u * stride, p),
        load(limb, row, first + 15u * stride, p),
    );
}
