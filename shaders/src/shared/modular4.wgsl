// Four neighbouring words of a limb in one thread, and sums of products for them.

fn below4(x: vec4<u32>, m: u32) -> vec4<u32> {
    return min(x, x - vec4(m));
}

fn add_mod4(a: vec4<u32>, b: vec4<u32>, q: u32) -> vec4<u32> {
    return below4(a + b, q);
}

// x w mod q for any words x.
fn mul_factor4(x: vec4<u32>, factor: Factor, q: u32) -> vec4<u32> {
    let products = vec4(shoup(x.x, factor, q), shoup(x.y, factor, q), shoup(x.z, factor, q), shoup(x.w, factor, q));
    return below4(products, q);
}

// Four sums of products of residues.
struct Total4 {
    open: array<Sum, 4>,
}

fn total4_zero() -> Total4 {
    return Total4(array<Sum, 4>(sum_zero(), sum_zero(), sum_zero(), sum_zero()));
}

fn total4_add(total: ptr<function, Total4>, a: vec4<u32>, b: vec4<u32>) {
    (*total).open[0] = sum_add((*total).open[0], a.x, b.x);
    (*total).open[1] = sum_add((*total).open[1], a.y, b.y);
    (*total).open[2] = sum_add((*total).open[2], a.z, b.z);
    (*total).open[3] = sum_add((*total).open[3], a.w, b.w);
}

// Makes room for LAZY_PRODUCTS more.
fn total4_reduce(total: ptr<function, Total4>, p: Prime) {
    (*total).open[0] = sum_reduced((*total).open[0], p);
    (*total).open[1] = sum_reduced((*total).open[1], p);
    (*total).open[2] = sum_reduced((*total).open[2], p);
    (*total).open[3] = sum_reduced((*total).open[3], p);
}

// The totals mod q.
fn total4_residue(total: ptr<function, Total4>, p: Prime) -> vec4<u32> {
    let residues = vec4(
        montgomery((*total).open[0], p),
        montgomery((*total).open[1], p),
        montgomery((*total).open[2], p),
        montgomery((*total).open[3], p),
    );
    return mul_factor4(residues, p.r, p.q);
}
