// Writes sixteen words of a limb, `stride` apart. All reads precede all writes, and the position is computed once, because not every
// compiler can prove that writes leave `tables` unchanged.
fn store16(limb: Limb, row: RowEntry, first: u32, stride: u32, v: ptr<function, array<u32, 16>>, p: Prime) {
    (*v)[0] = stored(limb, row, first, (*v)[0], p);
    (*v)[1] = stored(limb, row, first + stride, (*v)[1], p);
    (*v)[2] = stored(limb, row, first + 2u * stride, (*v)[2], p);
    (*v)[3] = stored(limb, row, first + 3u * stride, (*v)[3], p);
    (*v)[4] = stored(limb, row, first + 4u * stride, (*v)[4], p);
    (*v)[5] = stored(limb, row, first + 5u * stride, (*v)[5], p);
    (*v)[6] = stored(limb, row, first + 6u * stride, (*v)[6], p);
    (*v)[7] = stored(limb, row, first + 7u * stride, (*v)[7], p);
    (*v)[8] = stored(limb, row, first + 8u * stride, (*v)[8], p);
    (*v)[9] = stored(limb, row, first + 9u * stride, (*v)[9], p);
    (*v)[10] = stored(limb, row, first + 10u * stride, (*v)[10], p);
    (*v)[11] = stored(limb, row, first + 11u * stride, (*v)[11], p);
    (*v)[12] = stored(limb, row, first + 12u * stride, (*v)[12], p);
    (*v)[13] = stored(limb, row, first + 13u * stride, (*v)[13], p);
    (*v)[14] = stored(limb, row, first + 14u * stride, (*v)[14], p);
    (*v)[15] = stored(limb, row, first + 15u * stride, (*v)[15], p);
    let to = out_at(base(limb), row) + first;
    out[to] = (*v)[0];
    out[to + stride] = (*v)[1];
    out[to + 2u * stride] = (*v)[2];
    out[to + 3u * stride] = (*v)[3];
    out[to + 4u * stride] = (*v)[4];
    out[to + 5u * stride] = (*v)[5];
    out[to + 6u * stride] = (*v)[6];
    out[to + 7u * stride] = (*v)[7];
    out[to + 8u * stride] = (*v)[8];
    out[to + 9u * stride] = (*v)[9];
    out[to + 10u * stride] = (*v)[10];
    out[to + 11u * stride] = (*v)[11];
    out[to + 12u * stride] = (*v)[12];
    out[to + 13u * stride] = (*v)[13];
    out[to + 14u * stride] = (*v)[14];
    out[to + 15u * stride] = (*v)[15];
}
