//! Pipelines, sessions and the X-ray classifier on ciphertexts.
use ndarray::Axis;
use pleura::nn::{BatchLayout, Client, CompileOptions, Fidelity, Plan};
use pleura::xray::{Classifier, Features, XrayPipeline, shipped};
use pleura::{Device, Pipeline, Server};
use std::thread;

/// The smallest shipped classifier, with a plan for groups.
fn classifier(group: usize) -> (Classifier, Plan) {
    let classifier = Classifier::shipped("pneumoniamnist").unwrap();
    let layout = Some(BatchLayout::SideBySide(group));
    let options = CompileOptions { layout, ..classifier.compile_options(group).unwrap() };
    let plan = Plan::compile(classifier.network(), &options, &mut |_, _, _| ()).unwrap();
    (classifier, plan)
}

fn features(classifier: &Classifier, sample: usize) -> Features {
    classifier.features(&shipped::SAMPLES[sample].xray().unwrap()).unwrap()
}

#[test]
fn clients_with_different_keys_share_a_server_from_threads() {
    let (classifier, plan) = classifier(1);
    let server = Server::new(plan.server_plan().clone(), &Device::cpu(Some(1))).unwrap();
    let answer = |sample: usize| {
        let server = server.clone();
        let spec = plan.client_spec().clone();
        let item = features(&classifier, sample).values.insert_axis(Axis(0));
        let expected = classifier.network().evaluate(item.view()).unwrap();
        thread::spawn(move || {
            let client = Client::new(spec).unwrap();
            let session = server.open_session(client.evaluation_keys().unwrap()).unwrap();
            drop(server);
            for _ in 0..2 {
                let returned = session.infer(&client.encrypt(item.view()).unwrap()).unwrap();
                let scores = client.publish(&returned).unwrap();
                assert!(Fidelity::new(expected.view(), scores.view()).bits > 6.0, "{scores} {expected}");
            }
        })
    };
    let threads = [answer(0), answer(15)];
    drop(server);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_profiled_run_has_the_seconds_of_every_step() {
    let (classifier, plan) = classifier(1);
    let pipeline = Pipeline::new(&plan, &Device::cpu(Some(1))).unwrap();
    assert!(pipeline.times().keys > 0.0 && pipeline.times().infer == 0.0);
    let item = features(&classifier, 3).values.insert_axis(Axis(0));
    let mut steps = Vec::new();
    let profiled = pipeline.profile(item.view(), &mut |step| steps.push(step)).unwrap();
    let layers = plan.report().layers.len();
    assert_eq!(steps, (0..layers).collect::<Vec<_>>());
    assert_eq!(profiled.layer_seconds.len(), layers);
    assert!(profiled.layer_seconds.iter().sum::<f64>() <= profiled.times.infer);
    assert!(profiled.times.encrypt > 0.0 && profiled.times.decrypt > 0.0);
    let plain = pipeline.run(item.view()).unwrap();
    assert!(plain.layer_seconds.is_empty());
    let expected = classifier.network().evaluate(item.view()).unwrap();
    for outcome in [plain, profiled] {
        assert_eq!(outcome.published.shape(), [1, 2]);
        assert!(Fidelity::new(expected.view(), outcome.unrounded.view()).bits > 8.0);
        assert!(Fidelity::new(expected.view(), outcome.published.view()).bits > 6.0);
    }
}

#[test]
fn a_group_that_is_not_full_gives_the_scores_of_its_xrays() {
    let (classifier, plan) = classifier(4);
    let all: Vec<Features> = [1, 9, 14].map(|sample| features(&classifier, sample)).into();
    let pipeline = XrayPipeline::with_plan(classifier, &plan, &Device::cpu(None)).unwrap();
    assert_eq!(pipeline.group(), 4);
    let (predictions, times) = pipeline.classify_group(&all.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(predictions.len(), 3);
    assert!(times.infer > 0.0);
    for (features, prediction) in all.iter().zip(&predictions) {
        let expected = pipeline.classifier().evaluate(features);
        assert!(
            expected.iter().zip(&prediction.unrounded).all(|(a, b)| (a - b).abs() < 1e-2),
            "{expected:?} {prediction:?}"
        );
        assert_eq!(prediction.label, pipeline.classifier().label(&expected));
        assert!((prediction.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
