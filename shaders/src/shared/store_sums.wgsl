// Both sums of a row, at four neighbouring words of its results.
fn store_sums(row: SumRow, at: u32, total0: ptr<function, Total4>, total1: ptr<function, Total4>, p: Prime) {
    let to0 = (row.out_offset + at) >> 2u;
    let to1 = (row.second_out_offset + at) >> 2u;
    var sum0 = total4_residue(total0, p);
    var sum1 = total4_residue(total1, p);
    if row.accumulate != 0u {
        sum0 = add_mod4(sum0, out[to0], p.q);
        sum1 = add_mod4(sum1, out[to1], p.q);
    }
    out[to0] = sum0;
    out[to1] = sum1;
}
