// Sixteen words of a limb, `stride` apart.
fn store16(limb: u32, row: u32, first: u32, stride: u32, v: ptr<function, array<u32, 16>>, p: Prime) {
    store(limb, row, first, (*v)[0], p);
    store(limb, row, first + stride, (*v)[1], p);
    store(limb, row, first + 2u * stride, (*v)[2], p);
    store(limb, row, first + 3u * stride, (*v)[3], p);
    store(limb, row, first + 4u * stride, (*v)[4], p);
    store(limb, row, first + 5u * stride, (*v)[5], p);
    store(limb, row, first + 6u * stride, (*v)[6], p);
    store(limb, row, first + 7u * stride, (*v)[7], p);
    store(limb, row, first + 8u * stride, (*v)[8], p);
    store(limb, row, first + 9u * stride, (*v)[9], p);
    store(limb, row, first + 10u * stride, (*v)[10], p);
    store(limb, row, first + 11u * stride, (*v)[11], p);
    store(limb, row, first + 12u * stride, (*v)[12], p);
    store(limb, row, first + 13u * stride, (*v)[13], p);
    store(limb, row, first + 14u * stride, (*v)[14], p);
    store(limb, row, first + 15u * stride, (*v)[15], p);
}
