// Four stages of the transform on sixteen words in registers. Node k of the tree splits into 2k and 2k+1 (see the ring's tables);
// a partial pass takes the first `stages` of the four.

// Harvey's butterfly (2014): words below 4q to words below 4q.
fn forward_pair(v: ptr<function, array<u32, 16>>, i: u32, j: u32, factor: Factor, q: u32) {
    let a = below((*v)[i], 2u * q);
    // By -b, since some devices have an instruction for a sum of three words and none for a difference.
    let minus_b = minus_shoup((*v)[j], factor, q);
    (*v)[i] = a - minus_b;
    (*v)[j] = a + minus_b + 2u * q;
}

// The mirror of `forward_pair`: words below 2q to words below 2q.
fn inverse_pair(v: ptr<function, array<u32, 16>>, i: u32, j: u32, factor: Factor, q: u32) {
    let a = (*v)[i];
    let b = (*v)[j];
    (*v)[i] = below(a + b, 2u * q);
    (*v)[j] = shoup(a - b + 2u * q, factor, q);
}

fn forward16(v: ptr<function, array<u32, 16>>, node: u32, stages: u32, p: Prime) {
    let q = p.q;
    if stages > 0u {
        let w0 = twiddles[p.forward + node];
        forward_pair(v, 0u, 8u, w0, q);
        forward_pair(v, 1u, 9u, w0, q);
        forward_pair(v, 2u, 10u, w0, q);
        forward_pair(v, 3u, 11u, w0, q);
        forward_pair(v, 4u, 12u, w0, q);
        forward_pair(v, 5u, 13u, w0, q);
        forward_pair(v, 6u, 14u, w0, q);
        forward_pair(v, 7u, 15u, w0, q);
    }
    if stages > 1u {
        let at = p.forward + 2u * node;
        let w0 = twiddles[at];
        let w1 = twiddles[at + 1u];
        forward_pair(v, 0u, 4u, w0, q);
        forward_pair(v, 1u, 5u, w0, q);
        forward_pair(v, 2u, 6u, w0, q);
        forward_pair(v, 3u, 7u, w0, q);
        forward_pair(v, 8u, 12u, w1, q);
        forward_pair(v, 9u, 13u, w1, q);
        forward_pair(v, 10u, 14u, w1, q);
        forward_pair(v, 11u, 15u, w1, q);
    }
    if stages > 2u {
        let at = p.forward + 4u * node;
        let w0 = twiddles[at];
        let w1 = twiddles[at + 1u];
        let w2 = twiddles[at + 2u];
        let w3 = twiddles[at + 3u];
        forward_pair(v, 0u, 2u, w0, q);
        forward_pair(v, 1u, 3u, w0, q);
        forward_pair(v, 4u, 6u, w1, q);
        forward_pair(v, 5u, 7u, w1, q);
        forward_pair(v, 8u, 10u, w2, q);
        forward_pair(v, 9u, 11u, w2, q);
        forward_pair(v, 12u, 14u, w3, q);
        forward_pair(v, 13u, 15u, w3, q);
    }
    if stages > 3u {
        let at = p.forward + 8u * node;
        forward_pair(v, 0u, 1u, twiddles[at], q);
        forward_pair(v, 2u, 3u, twiddles[at + 1u], q);
        forward_pair(v, 4u, 5u, twiddles[at + 2u], q);
        forward_pair(v, 6u, 7u, twiddles[at + 3u], q);
        forward_pair(v, 8u, 9u, twiddles[at + 4u], q);
        forward_pair(v, 10u, 11u, twiddles[at + 5u], q);
        forward_pair(v, 12u, 13u, twiddles[at + 6u], q);
        forward_pair(v, 14u, 15u, twiddles[at + 7u], q);
    }
}

// All stages but that of the node itself, which follows in `inverse_node` or `inverse_root`.
fn inverse16(v: ptr<function, array<u32, 16>>, node: u32, stages: u32, p: Prime) {
    let q = p.q;
    if stages > 3u {
        let at = p.inverse + 8u * node;
        inverse_pair(v, 0u, 1u, twiddles[at], q);
        inverse_pair(v, 2u, 3u, twiddles[at + 1u], q);
        inverse_pair(v, 4u, 5u, twiddles[at + 2u], q);
        inverse_pair(v, 6u, 7u, twiddles[at + 3u], q);
        inverse_pair(v, 8u, 9u, twiddles[at + 4u], q);
        inverse_pair(v, 10u, 11u, twiddles[at + 5u], q);
        inverse_pair(v, 12u, 13u, twiddles[at + 6u], q);
        inverse_pair(v, 14u, 15u, twiddles[at + 7u], q);
    }
    if stages > 2u {
        let at = p.inverse + 4u * node;
        let w0 = twiddles[at];
        let w1 = twiddles[at + 1u];
        let w2 = twiddles[at + 2u];
        let w3 = twiddles[at + 3u];
        inverse_pair(v, 0u, 2u, w0, q);
        inverse_pair(v, 1u, 3u, w0, q);
        inverse_pair(v, 4u, 6u, w1, q);
        inverse_pair(v, 5u, 7u, w1, q);
        inverse_pair(v, 8u, 10u, w2, q);
        inverse_pair(v, 9u, 11u, w2, q);
        inverse_pair(v, 12u, 14u, w3, q);
        inverse_pair(v, 13u, 15u, w3, q);
    }
    if stages > 1u {
        let at = p.inverse + 2u * node;
        let w0 = twiddles[at];
        let w1 = twiddles[at + 1u];
        inverse_pair(v, 0u, 4u, w0, q);
        inverse_pair(v, 1u, 5u, w0, q);
        inverse_pair(v, 2u, 6u, w0, q);
        inverse_pair(v, 3u, 7u, w0, q);
        inverse_pair(v, 8u, 12u, w1, q);
        inverse_pair(v, 9u, 13u, w1, q);
        inverse_pair(v, 10u, 14u, w1, q);
        inverse_pair(v, 11u, 15u, w1, q);
    }
}

// The stage of the node itself.
fn inverse_node(v: ptr<function, array<u32, 16>>, node: u32, p: Prime) {
    let w0 = twiddles[p.inverse + node];
    inverse_pair(v, 0u, 8u, w0, p.q);
    inverse_pair(v, 1u, 9u, w0, p.q);
    inverse_pair(v, 2u, 10u, w0, p.q);
    inverse_pair(v, 3u, 11u, w0, p.q);
    inverse_pair(v, 4u, 12u, w0, p.q);
    inverse_pair(v, 5u, 13u, w0, p.q);
    inverse_pair(v, 6u, 14u, w0, p.q);
    inverse_pair(v, 7u, 15u, w0, p.q);
}

// The stage of the root, whose factors, one for sums and one for differences, scale the whole result for free.
fn inverse_root(v: ptr<function, array<u32, 16>>, sum_factor: Factor, difference_factor: Factor, q: u32) {
    root_pair(v, 0u, 8u, sum_factor, difference_factor, q);
    root_pair(v, 1u, 9u, sum_factor, difference_factor, q);
    root_pair(v, 2u, 10u, sum_factor, difference_factor, q);
    root_pair(v, 3u, 11u, sum_factor, difference_factor, q);
    root_pair(v, 4u, 12u, sum_factor, difference_factor, q);
    root_pair(v, 5u, 13u, sum_factor, difference_factor, q);
    root_pair(v, 6u, 14u, sum_factor, difference_factor, q);
    root_pair(v, 7u, 15u, sum_factor, difference_factor, q);
}

fn root_pair(v: ptr<function, array<u32, 16>>, i: u32, j: u32, sum_factor: Factor, difference_factor: Factor, q: u32) {
    let a = (*v)[i];
    let b = (*v)[j];
    (*v)[i] = shoup(a + b, sum_factor, q);
    (*v)[j] = shoup(a - b + 2u * q, difference_factor, q);
}
