//! Values of any size.

use crate::common::*;
use pleura_ckks::Ciphertext;

#[test]
fn values_of_any_size_run_and_come_back_through_bytes() {
    for size in [1e-15, 1e-4, 1e3, 1e12] {
        let network = net(&[6], |n| {
            let x = n.affine(X, size, 0.1 * size);
            let x = n.polynomial(x, &[0.0, 0.5 * size, 0.0, 0.0, size.powi(-3)]);
            let y = n.dense(x, 6);
            let x = n.add(x, y);
            n.dense(x, 3);
        });
        let plan = compile(&network, &options(&network)).unwrap();
        let (client, keys) = client(&plan);
        let session = server(&plan).open_session(keys).unwrap();
        let item = item(&network, 0);
        let got = infer(&session, &encrypt(&client, std::slice::from_ref(&item))).unwrap();
        let got: Vec<_> =
            got.iter().map(|c| Ciphertext::from_bytes(&c.to_bytes(), plan.params()).unwrap()).collect();
        let want = network.evaluate_flat(&item);
        let bits = bits(&want, &decrypt(&client, &got)[0], output_range(&network));
        assert!(bits >= 12.0, "{bits:.1} bits at {size}");
        let published = flat(&client.publish(&got).unwrap());
        let error = published[0].iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error < output_range(&network) / 2048.0, "{error} at {size}");
    }
}
