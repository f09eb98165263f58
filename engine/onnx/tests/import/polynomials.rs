//! However a model writes a polynomial, it becomes one node.

use crate::model::{Builder, kinds, numbers};
use pleura_nn::{LinearMap, Op};

fn each(f: impl Fn(f64) -> f64) -> Vec<f64> {
    numbers(6, 0).into_iter().map(f).collect()
}

#[test]
fn square() {
    for model in [
        Builder::new(&[6]).node("Mul", "x x", "y", &[]),
        Builder::new(&[6]).scalar("two", 2.0).node("Pow", "x two", "y", &[]),
    ] {
        model.gives(&[6], &each(|x| x * x));
        assert_eq!(kinds(&model.network()), "I P2");
        assert_eq!(model.network().nodes()[1].name, "/y");
    }
}

#[test]
fn horner() {
    let model = Builder::new(&[6]).scalar("a", 0.5).scalar("b", -1.0).scalar("c", 2.0);
    let model = model.node("Mul", "a x", "m", &[]).node("Add", "m b", "n", &[]);
    let model = model.node("Mul", "n x", "o", &[]).node("Sub", "o c", "y", &[]);
    model.gives(&[6], &each(|x| (0.5 * x - 1.0) * x - 2.0));
    assert_eq!(kinds(&model.network()), "I P2");
}

#[test]
fn sum_of_monomials() {
    let model = Builder::new(&[6]).scalar("a", 0.5).scalar("three", 3.0).scalar("four", 4.0);
    let model = model.node("Pow", "x three", "cube", &[]).node("Mul", "cube a", "ac", &[]);
    let model = model.node("Pow", "x four", "fourth", &[]).node("Div", "x four", "q", &[]);
    let model = model.node("Neg", "fourth", "minus", &[]).node("Sum", "ac minus q", "s", &[]);
    let model = model.node("Sub", "a s", "y", &[]);
    model.gives(&[6], &each(|x| 0.5 - (0.5 * x.powi(3) - x.powi(4) + x / 4.0)));
    assert_eq!(kinds(&model.network()), "I P4");
}

#[test]
fn coefficients_of_channels() {
    let model = Builder::new(&[2, 3]).floats("a", &[1, 2, 1], &[0.5, 2.0]).floats("b", &[2, 1], &[1.0, -1.0]);
    let model = model.node("Mul", "x x", "s", &[]).node("Mul", "s a", "m", &[]);
    let model = model.node("Mul", "b x", "n", &[]).node("Add", "m n", "y", &[]);
    let x = numbers(6, 0);
    let expected: Vec<f64> =
        (0..6).map(|i| if i < 3 { 0.5 * x[i] * x[i] + x[i] } else { 2.0 * x[i] * x[i] - x[i] }).collect();
    model.gives(&[2, 3], &expected);
    let network = model.network();
    assert_eq!(kinds(&network), "I P2");
    let Op::Polynomial(_, coefficients) = &network.nodes()[1].op else { unreachable!() };
    assert_eq!(coefficients.0.iter().map(Vec::len).collect::<Vec<_>>(), [1, 6, 6]);
}

#[test]
fn of_degree_one_is_affine() {
    let model = Builder::new(&[6]).scalar("a", 2.0).node("Mul", "x a", "m", &[]).node("Add", "m a", "y", &[]);
    model.gives(&[6], &each(|x| 2.0 * x + 2.0));
    assert_eq!(kinds(&model.network()), "I L");
    // Only a bias: no factors at all.
    let model = Builder::new(&[6]).scalar("a", 2.0).node("Add", "x a", "y", &[]);
    model.gives(&[6], &each(|x| x + 2.0));
    let network = model.network();
    assert!(matches!(&network.nodes()[1].op, Op::Linear(_, linear) if linear.maps().is_empty()));
    // Cancelled.
    let model = Builder::new(&[6]).node("Mul", "x x", "s", &[]).node("Sub", "s s", "z", &[]);
    let model = model.node("Add", "z x", "y", &[]);
    model.gives(&[6], &numbers(6, 0));
}

#[test]
fn across_views() {
    let model = Builder::new(&[2, 3]).node("Mul", "x x", "s", &[]).node("Flatten", "s", "f", &[]);
    let model = model.node("Flatten", "x", "g", &[]).node("Mul", "f g", "y", &[]);
    model.gives(&[6], &each(|x| x * x * x));
    assert_eq!(kinds(&model.network()), "I P3");
}

#[test]
fn layers_before_stay_apart() {
    let w: Vec<f64> = numbers(2 * 2, 1);
    let ones = [1.0, 1.0];
    let model = Builder::new(&[2, 2, 2]).floats("w", &[2, 2, 1, 1], &w).floats("o", &[2], &ones);
    let model = model.node("Conv", "x w", "c", &[]).node("BatchNormalization", "c o o o o", "n", &[]);
    let model = model.node("Mul", "n n", "s", &[]).node("Add", "s n", "a", &[]);
    let network = model.node("Conv", "a w", "y", &[]).network();
    assert_eq!(kinds(&network), "I L L P2 L");
    let names: Vec<&str> = network.nodes().iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["x", "/c", "/n", "/a", "/y"]);
    assert!(
        matches!(&network.nodes()[2].op, Op::Linear(_, l) if matches!(l.maps(), [LinearMap::DiagonalScale(_)]))
    );
}

#[test]
fn a_polynomial_read_twice_is_made_once() {
    let w = numbers(4, 1);
    let model = Builder::new(&[2, 2]).floats("w", &[2, 2, 1], &w).node("Mul", "x x", "s", &[]);
    let model = model.node("Conv", "s w", "c", &[]).node("Add", "c s", "y", &[]);
    assert_eq!(kinds(&model.network()), "I P2 L +");
}

#[test]
fn degrees_have_a_limit() {
    let model = Builder::new(&[6]).scalar("e", 8.0).node("Pow", "x e", "a", &[]).node("Pow", "a e", "b", &[]);
    assert_eq!(kinds(&model.network()), "I P64");
    let model = model.node("Mul", "b x", "y", &[]);
    assert!(model.error().starts_with("/y (Mul): a polynomial of degree 65"), "{}", model.error());
}
