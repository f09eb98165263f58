//! Encrypted inference compared with the plaintext network: every kind of affine map, alone and among others.

use crate::common::*;
use pleura_nn::*;

/// A network with one convolution.
fn convolution(shape: [usize; 3], channels: usize, moves: Moves) -> Network {
    net(&shape, |n| {
        n.conv(X, channels, moves);
    })
}

// Convolutions.

#[test]
fn convolution_without_padding() {
    runs(convolution([3, 8, 8], 5, Moves::of(3, 3)), 14.0);
}

#[test]
fn convolution_of_stride_2() {
    runs(convolution([3, 8, 8], 5, Moves::of(3, 3).stride(2, 2).padding(1, 1)), 14.0);
}

#[test]
fn convolution_of_stride_3() {
    runs(convolution([2, 11, 10], 4, Moves::of(3, 3).stride(3, 3).padding(1, 1)), 14.0);
}

#[test]
fn convolution_with_other_strides_along_each_axis() {
    runs(convolution([2, 9, 10], 4, Moves::of(2, 3).stride(1, 4).padding(1, 2)), 14.0);
}

#[test]
fn convolution_with_more_padding_than_kernel() {
    runs(convolution([2, 4, 4], 3, Moves::of(2, 2).padding(3, 3)), 14.0);
}

#[test]
fn convolution_with_asymmetric_padding() {
    let network = net(&[2, 6, 5], |n| {
        let x = n.pad(X, [2, 0, 1, 3]);
        let x = n.conv(x, 4, Moves::of(3, 3).stride(2, 2));
        let x = n.act(x);
        let x = n.pad(x, [0, 1, 0, 0]);
        n.conv(x, 3, Moves::of(2, 2));
    });
    runs(network, 14.0);
}

#[test]
fn dilated_convolution() {
    runs(convolution([2, 9, 9], 3, Moves::of(3, 3).dilation(2, 3).padding(2, 3)), 14.0);
}

#[test]
fn grouped_convolutions() {
    let network = net(&[6, 7, 7], |n| {
        let x = n.conv(X, 9, Moves::of(3, 3).groups(3));
        let x = n.act(x);
        n.conv(x, 4, Moves::of(2, 2).groups(1));
    });
    runs(network, 14.0);
}

#[test]
fn grouped_convolutions_with_other_groups_after_each_other() {
    let network = net(&[4, 8, 8], |n| {
        let x = n.conv(X, 12, Moves::of(3, 3).groups(4).padding(1, 1));
        let x = n.act(x);
        let x = n.conv(x, 24, Moves::of(3, 3).groups(3).stride(2, 2).padding(1, 1));
        let x = n.act(x);
        n.conv(x, 8, Moves::of(1, 1).groups(8));
    });
    runs(network, 14.0);
}

#[test]
fn depthwise_separable_convolutions() {
    let network = net(&[5, 8, 8], |n| {
        let x = n.conv(X, 5, Moves::of(3, 3).groups(5).padding(1, 1));
        let x = n.act(x);
        let x = n.conv(x, 7, Moves::of(1, 1));
        let x = n.act(x);
        let x = n.conv(x, 14, Moves::of(3, 3).groups(7).stride(2, 2).padding(1, 1));
        n.conv(x, 3, Moves::of(1, 1));
    });
    runs(network, 14.0);
}

#[test]
fn windows_that_lie_on_padding_and_gaps() {
    runs(convolution([1, 2, 7], 4, Moves::of(2, 4).stride(2, 2).dilation(2, 1).padding(1, 0)), 14.0);
}

#[test]
fn kernel_larger_than_the_input() {
    runs(convolution([2, 3, 4], 3, Moves::of(5, 7).padding(2, 3)), 14.0);
}

#[test]
fn kernel_as_large_as_the_input() {
    runs(convolution([2, 3, 4], 3, Moves::of(3, 4)), 14.0);
}

#[test]
fn convolution_along_one_axis() {
    let network = net(&[3, 1, 50], |n| {
        let x = n.conv(X, 4, Moves::of(1, 5).stride(1, 2).padding(0, 2));
        let x = n.act(x);
        n.conv(x, 2, Moves::of(1, 3));
    });
    runs(network, 14.0);
}

#[test]
fn stride_along_an_axis_of_length_one() {
    // As exporters write convolutions along one axis: the stride is the same along the other.
    let network = net(&[2, 512, 1], |n| {
        let x = n.conv(X, 16, Moves::of(3, 1).stride(2, 2).padding(1, 0));
        let x = n.act(x);
        n.conv(x, 2, Moves::of(3, 1).stride(2, 2));
    });
    runs(network, 14.0);
}

#[test]
fn three_strides_in_a_row() {
    let network = net(&[1, 16, 16], |n| {
        let mut x = X;
        for channels in [4, 8, 16] {
            x = n.conv(x, channels, Moves::of(3, 3).stride(2, 2).padding(1, 1));
            x = n.act(x);
        }
        n.dense(x, 3);
    });
    runs(network, 13.0);
}

#[test]
fn odd_strides_in_a_row() {
    let network = net(&[1, 29, 31], |n| {
        let x = n.conv(X, 5, Moves::of(3, 5).stride(3, 5).padding(1, 2));
        let x = n.act(x);
        let x = n.conv(x, 7, Moves::of(3, 2).stride(5, 3).padding(2, 0));
        let x = n.act(x);
        n.dense(x, 3);
    });
    runs(network, 13.0);
}

#[test]
fn stride_3_with_more_channels_than_fit_side_by_side() {
    let network = net(&[2, 7, 7], |n| {
        let x = n.conv(X, 128, Moves::of(3, 3).stride(3, 3).padding(1, 1));
        let x = n.square(x);
        n.dense(x, 2);
    });
    runs(network, 13.0);
}

#[test]
fn shapes_that_are_no_powers_of_two() {
    let network = net(&[3, 11, 7], |n| {
        let x = n.conv(X, 5, Moves::of(3, 2).padding(1, 0));
        let x = n.act(x);
        let x = n.pool(x, Moves::of(3, 2).stride(2, 2), true);
        let x = n.conv(x, 7, Moves::of(2, 2));
        let x = n.act(x);
        n.dense(x, 9);
    });
    runs(network, 14.0);
}

#[test]
fn more_channels_than_planes() {
    let network = net(&[3, 16, 16], |n| {
        let x = n.conv(X, 20, Moves::of(3, 3).padding(1, 1));
        let x = n.act(x);
        n.conv(x, 11, Moves::of(3, 3).padding(1, 1));
    });
    runs(network, 14.0);
}

#[test]
fn more_input_channels_than_planes() {
    let network = net(&[19, 16, 16], |n| {
        n.conv(X, 3, Moves::of(3, 3).padding(1, 1));
    });
    runs(network, 14.0);
}

#[test]
fn planes_larger_than_a_ciphertext() {
    let network = net(&[1, 80, 80], |n| {
        let x = n.conv(X, 2, Moves::of(3, 3).stride(2, 2).padding(1, 1));
        let x = n.act(x);
        let x = n.conv(x, 2, Moves::of(3, 3).stride(2, 2));
        let x = n.global_pool(x);
        n.dense(x, 3);
    });
    runs(network, 13.0);
}

#[test]
fn a_feature_map_larger_than_a_ciphertext_as_result() {
    runs(convolution([1, 60, 50], 2, Moves::of(3, 3).padding(1, 1)), 14.0);
}

#[test]
fn convolution_of_what_a_dense_layer_made() {
    let network = net(&[10], |n| {
        let x = n.dense(X, 36);
        let x = n.act(x);
        let x = n.reshape(x, &[4, 3, 3]);
        let x = n.conv(x, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.act(x);
        n.dense(x, 2);
    });
    runs(network, 14.0);
}

#[test]
fn planes_made_larger() {
    let network = net(&[2, 4, 4], |n| {
        let x = n.conv(X, 4, Moves::of(2, 2).stride(2, 2));
        let x = n.act(x);
        let sources = (0..4 * 4 * 4).map(|i| Some((i / 16 * 4 + i / 8 % 2 * 2 + i / 2 % 2) as u32)).collect();
        let x = n.select(x, &[4, 4, 4], sources);
        let x = n.conv(x, 3, Moves::of(3, 3).padding(1, 1));
        n.act(x);
    });
    runs(network, 14.0);
}

// Other affine maps.

#[test]
fn batch_norm_between_convolution_and_activation() {
    let network = net(&[3, 6, 6], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3));
        let x = n.batch_norm(x);
        let x = n.act(x);
        n.dense(x, 3);
    });
    runs(network, 14.0);
}

#[test]
fn batch_norm_alone_and_after_an_activation() {
    runs(net(&[3, 4, 5], |n| _ = n.batch_norm(X)), 14.0);
    let network = net(&[3, 4, 5], |n| {
        let x = n.batch_norm(X);
        let x = n.act(x);
        let x = n.batch_norm(x);
        n.act(x);
    });
    runs(network, 14.0);
}

#[test]
fn average_pool_that_counts_padding() {
    runs(net(&[3, 7, 8], |n| _ = n.pool(X, Moves::of(3, 3).stride(2, 2).padding(1, 1), true)), 14.0);
}

#[test]
fn average_pool_that_counts_no_padding() {
    runs(net(&[3, 7, 8], |n| _ = n.pool(X, Moves::of(3, 3).stride(2, 2).padding(1, 1), false)), 14.0);
}

#[test]
fn average_pools_whose_windows_overlap_or_leave_gaps() {
    runs(net(&[2, 9, 9], |n| _ = n.pool(X, Moves::of(3, 4).stride(1, 2), true)), 14.0);
    runs(net(&[2, 9, 9], |n| _ = n.pool(X, Moves::of(2, 1).stride(3, 3), true)), 14.0);
}

#[test]
fn pool_and_convolution_after_each_other() {
    for counts in [true, false] {
        let network = net(&[3, 10, 10], |n| {
            let x = n.conv(X, 4, Moves::of(3, 3).padding(1, 1));
            let x = n.act(x);
            let x = n.pool(x, Moves::of(2, 2).stride(2, 2).padding(1, 1), counts);
            let x = n.conv(x, 5, Moves::of(3, 3).padding(1, 1));
            let x = n.act(x);
            let x = n.pool(x, Moves::of(2, 2).stride(2, 2), counts);
            n.dense(x, 4);
        });
        runs(network, 14.0);
    }
}

#[test]
fn global_pool_as_result() {
    let network = net(&[3, 5, 7], |n| {
        let x = n.conv(X, 6, Moves::of(3, 3));
        let x = n.act(x);
        n.global_pool(x);
    });
    runs(network, 14.0);
}

#[test]
fn dense_layers_alone() {
    for (inputs, outputs) in [(1, 1), (1, 9), (9, 1), (16, 16), (37, 5), (5, 37), (300, 200)] {
        runs(net(&[inputs], |n| _ = n.dense(X, outputs)), 14.0);
    }
}

#[test]
fn perceptron_of_three_layers() {
    let network = net(&[30], |n| {
        let x = n.dense(X, 50);
        let x = n.square(x);
        let x = n.dense(x, 20);
        let x = n.square(x);
        n.dense(x, 7);
    });
    runs(network, 13.0);
}

#[test]
fn flatten_and_dense() {
    let network = net(&[3, 5, 6], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3).stride(2, 1));
        let x = n.act(x);
        let len = n.len(x);
        let x = n.reshape(x, &[len]);
        n.dense(x, 6);
    });
    runs(network, 14.0);
}

#[test]
fn flatten_of_the_input() {
    let network = net(&[3, 5, 6], |n| {
        let x = n.reshape(X, &[90]);
        let x = n.act(x);
        n.dense(x, 6);
    });
    runs(network, 14.0);
}

#[test]
fn more_inputs_than_slots() {
    let network = net(&[3000], |n| {
        let x = n.dense(X, 10);
        let x = n.act(x);
        n.dense(x, 3);
    });
    runs(network, 13.0);
}

#[test]
fn more_outputs_than_slots() {
    runs(net(&[10], |n| _ = n.dense(X, 3000)), 13.0);
}

#[test]
fn more_hidden_elements_than_slots() {
    let network = net(&[6], |n| {
        let x = n.dense(X, 2500);
        let x = n.act(x);
        n.dense(x, 4);
    });
    runs(network, 13.0);
}

#[test]
fn exactly_as_many_elements_as_slots() {
    let network = net(&[2048], |n| {
        let x = n.act(X);
        n.dense(x, 4);
    });
    runs(network, 13.0);
}

#[test]
fn sparse_maps_and_permutations() {
    let network = net(&[12], |n| {
        let starts = (0..=20).map(|i| i / 2 * 3).collect();
        let entries = reals(30, 5).into_iter().enumerate().map(|(i, w)| ((i * 7 % 12) as u32, w)).collect();
        let x = n.linear("sparse", X, &[20], Linear::new(Sparse::new(12, starts, entries).unwrap()));
        let x = n.act(x);
        let sources = (0..25).map(|i| (i % 6 != 5).then_some((i * 9 % 20) as u32)).collect();
        let x = n.select(x, &[25], sources);
        n.act(x);
    });
    runs(network, 14.0);
}

#[test]
fn selections_of_planes() {
    let network = net(&[4, 5, 5], |n| {
        let x = n.conv(X, 6, Moves::of(3, 3).padding(1, 1));
        let x = n.act(x);
        // Channels in reverse, without their first row.
        let sources = (0..6 * 20).map(|i| Some((125 - i / 20 * 25 + 5 + i % 20) as u32)).collect();
        let x = n.select(x, &[6, 4, 5], sources);
        n.conv(x, 2, Moves::of(2, 2));
    });
    runs(network, 14.0);
}
