//! Files that a client and a server exchange: what comes out of them, and what a dishonest server or a stranger can do to them.
use ndarray::{ArrayD, Axis, Dimension};
use pleura::ckks::wire::ObjectKind;
use pleura::nn::{BatchLayout, CompileOptions, Metadata, Plan, ScoreTransform, ServerPlan};
use pleura::onnx::{ImportOptions, import};
use pleura::remote::*;
use pleura::{Device, Server, Session};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::sync::{Arc, LazyLock};

/// A plan, a client with its key and three items, and a server with a session.
struct Setup {
    plan: Plan,
    key: ClientKey,
    session: Session,
    items: ArrayD<f64>,
    sent: Vec<u8>,
    received: Vec<u8>,
}

static SETUP: LazyLock<Setup> = LazyLock::new(|| {
    let plan = compile(Metadata::default());
    let key = ClientKey::generate(ClientBundle::tensor(plan.client_spec().clone()).unwrap()).unwrap();
    let mut keys = Vec::new();
    assert_eq!(key.write_keys(&mut keys).unwrap(), keys.len() as u64);
    let server = ServerPlan::from_bytes(&plan.server_plan().to_bytes().unwrap()).unwrap();
    let (keys, origin) = read_keys(&keys[..], &server).unwrap();
    assert_eq!(origin, *key.origin());
    let session = Server::new(server, &Device::cpu(None)).unwrap().open_session(keys).unwrap();
    let shape: Vec<usize> = [3].into_iter().chain(key.bundle().item_shape()).collect();
    let items = ArrayD::from_shape_fn(shape, |at| (at.as_array_view().sum() % 7) as f64 / 7.0);
    let sent = encrypted(&key, &items);
    let (received, frames, bytes) =
        infer_items(&session, &origin, &sent[..], Vec::new(), &mut |_, _| ()).unwrap();
    assert_eq!((frames, bytes), (3, received.len() as u64));
    Setup { plan, key, session, items, sent, received }
});

fn compile(metadata: Metadata) -> Plan {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/reference/lola.onnx");
    let network = import(&std::fs::read(path).unwrap(), &ImportOptions::default()).unwrap().network;
    Plan::compile(&network, &CompileOptions { metadata, ..CompileOptions::default() }, &mut |_, _, _| ())
        .unwrap()
}

fn encrypted(key: &ClientKey, items: &ArrayD<f64>) -> Vec<u8> {
    let mut encryptor = ItemEncryptor::new(key, Vec::new()).unwrap();
    for (number, item) in items.axis_iter(Axis(0)).enumerate() {
        let note =
            ItemNote { name: format!("item {number}"), warnings: vec!["odd".into()], ..ItemNote::default() };
        encryptor.add(note, item.to_owned()).unwrap();
    }
    let (bytes, count) = encryptor.finish().unwrap();
    assert_eq!(bytes.len() as u64, count);
    bytes
}

fn decrypted(key: &ClientKey, bytes: &[u8]) -> Result<Vec<DecryptedItem>, RemoteError> {
    let mut decryptor = ItemDecryptor::new(key, bytes)?;
    let mut items = Vec::new();
    while let Some(group) = decryptor.next_group()? {
        items.extend(group);
    }
    assert_eq!(decryptor.bytes(), bytes.len() as u64);
    Ok(items)
}

/// The frames of a file, and its end note.
fn frames(kind: ObjectKind, bytes: &[u8], ciphertexts: usize) -> (ItemHeader, Vec<Frame>, Vec<u8>) {
    let params = SETUP.plan.params();
    let mut reader = ItemReader::new(bytes, kind, params, ciphertexts, |_| Ok(())).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        frames.push(frame);
    }
    (*reader.header(), frames, reader.end_note().unwrap().to_vec())
}

fn results() -> (ItemHeader, Vec<Frame>, Vec<u8>) {
    let count = SETUP.plan.client_spec().output_ciphertexts();
    frames(ObjectKind::EncryptedResults, &SETUP.received, count)
}

/// A file of results as a server makes it, digests and all.
fn served(header: &ItemHeader, frames: &[&Frame], end: &[u8]) -> Vec<u8> {
    let params = SETUP.plan.params();
    let mut writer = ItemWriter::new(Vec::new(), ObjectKind::EncryptedResults, params, header).unwrap();
    frames.iter().for_each(|frame| writer.add(frame).unwrap());
    writer.finish(end).unwrap().0
}

#[test]
fn results_are_those_of_a_session_in_one_process_to_the_bit() {
    let Setup { plan, key, session, items, sent, received } = &*SETUP;
    let (_, inputs, _) = frames(ObjectKind::EncryptedItems, sent, plan.client_spec().input_ciphertexts());
    let (_, outputs, _) = results();
    for (input, output) in inputs.iter().zip(&outputs) {
        assert_eq!(input.note, output.note);
        for (ours, theirs) in session.infer(&input.ciphertexts).unwrap().iter().zip(&output.ciphertexts) {
            assert_eq!(ours.to_bytes(), theirs.to_bytes());
        }
    }
    let found = decrypted(key, received).unwrap();
    let names: Vec<&str> = found.iter().map(|item| item.note.name.as_str()).collect();
    assert_eq!(names, ["item 0", "item 1", "item 2"]);
    assert!(found.iter().all(|item| item.note.warnings == ["odd"] && item.beyond_range.is_none()));
    assert_eq!(decrypted(key, received).unwrap(), found);

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/reference/lola.onnx");
    let network = import(&std::fs::read(path).unwrap(), &ImportOptions::default()).unwrap().network;
    let plaintext = network.evaluate(items.view()).unwrap();
    let unit = f64::from(-plan.client_spec().publish_bits()).exp2();
    for (item, expected) in found.iter().zip(plaintext.axis_iter(Axis(0))) {
        assert!(
            item.scores.iter().zip(expected.iter()).all(|(a, b)| (a - b).abs() < 1.1 * unit),
            "{item:?} {expected}"
        );
    }
    // Through bytes, a key with a passphrase stays the same key.
    let bundle = ClientBundle::from_bytes(&key.bundle().to_bytes().unwrap()).unwrap();
    assert_eq!(bundle.digest(), key.bundle().digest());
    let secret = key.to_secret_bytes(Some(b"horse")).unwrap();
    assert!(is_under_passphrase(&secret).unwrap() && secret.len() <= MAX_SECRET_BYTES);
    let again = ClientKey::from_secret_bytes(bundle, &secret, Some(b"horse")).unwrap();
    assert_eq!(decrypted(&again, received).unwrap(), found);
}

#[test]
fn a_server_cannot_reorder_repeat_or_leave_out_results() {
    let Setup { key, items, .. } = &*SETUP;
    let (header, frames, end) = results();
    let [a, b, c] = &frames[..] else { panic!("three frames") };
    assert!(decrypted(key, &served(&header, &[a, b, c], &end)).is_ok());
    let misplaced = |frames: &[&Frame], end: &[u8], frame: u64| {
        let error = decrypted(key, &served(&header, frames, end)).unwrap_err();
        assert!(matches!(error, RemoteError::Note { frame: found } if found == frame), "{error}");
    };
    misplaced(&[b, a, c], &end, 1);
    misplaced(&[a, a, b, c], &end, 2);
    misplaced(&[a, c], &end, 2);
    // The end mark of three frames is none of two.
    misplaced(&[a, b], &end, 3);
    misplaced(&[a, b], &a.note, 3);
    misplaced(&[a, b, c], b"", 4);
    // Frames of another file of the same client.
    let origin = key.origin();
    let other = encrypted(key, items);
    let (other, _, _) = infer_items(&SETUP.session, origin, &other[..], Vec::new(), &mut |_, _| ()).unwrap();
    let count = SETUP.plan.client_spec().output_ciphertexts();
    let (_, others, _) = self::frames(ObjectKind::EncryptedResults, &other, count);
    misplaced(&[a, &others[1], c], &end, 2);
    // A result in the place of another with its note is beyond what a client can tell: the server computes what it wants.
    let swapped = Frame { note: a.note.clone(), ciphertexts: b.ciphertexts.clone() };
    assert!(decrypted(key, &served(&header, &[&swapped, b, c], &end)).is_ok());
}

#[test]
fn damage_is_refused_without_panic() {
    let Setup { plan, key, sent, received, .. } = &*SETUP;
    let bundle = key.bundle().to_bytes().unwrap();
    let secret = key.to_secret_bytes(None).unwrap();
    let mut keys = Vec::new();
    key.write_keys(&mut keys).unwrap();
    let read_items = |bytes: &[u8]| {
        let kind = ObjectKind::EncryptedItems;
        let mut reader =
            ItemReader::new(bytes, kind, plan.params(), plan.client_spec().input_ciphertexts(), |found| {
                found.check(key.origin())
            })?;
        while reader.next_frame()?.is_some() {}
        Ok::<_, RemoteError>(())
    };
    type Check<'a> = &'a dyn Fn(&[u8]) -> bool;
    let files: [(&str, &[u8], Check<'_>); 5] = [
        ("bundle", &bundle, &|bytes| ClientBundle::from_bytes(bytes).is_ok()),
        ("secret", &secret, &|bytes| ClientKey::from_secret_bytes(key.bundle().clone(), bytes, None).is_ok()),
        ("keys", &keys, &|bytes| read_keys(bytes, plan.server_plan()).is_ok()),
        ("items", sent, &|bytes| read_items(bytes).is_ok()),
        ("results", received, &|bytes| decrypted(key, bytes).is_ok()),
    ];
    for (name, whole, is_read) in files {
        assert!(is_read(whole), "{name}");
        let step = (whole.len() / 150).max(1);
        for at in (0..whole.len()).step_by(step).chain(0..whole.len().min(160)) {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1 << (at % 8);
            assert!(!is_read(&bytes), "{name}: a flipped bit at {at}");
        }
        for len in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
            assert!(!is_read(&whole[..len]), "{name}: cut to {len}");
        }
        assert!(!is_read(&[whole, b"x"].concat()), "{name}: a byte more");
    }
}

/// A reader that counts what is asked of it and never ends.
struct Endless {
    start: Vec<u8>,
    given: usize,
}

impl Read for Endless {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        for byte in to.iter_mut() {
            *byte = self.start.get(self.given).copied().unwrap_or(0);
            self.given += 1;
        }
        Ok(to.len())
    }
}

#[test]
fn claimed_lengths_have_limits() {
    let Setup { plan, sent, .. } = &*SETUP;
    let mut start = sent[..145].to_vec();
    start[137..145].fill(0xff);
    let mut input = Endless { start, given: 0 };
    let kind = ObjectKind::EncryptedItems;
    let mut reader = ItemReader::new(&mut input, kind, plan.params(), 1, |_| Ok(())).unwrap();
    let error = reader.next_frame().err().unwrap();
    assert!(matches!(error, RemoteError::Frame { frame: 1, .. }), "{error}");
    assert!(input.given < 1000, "{} bytes were taken", input.given);
    // Keys of a length that the plan does not have.
    let mut keys = Vec::new();
    SETUP.key.write_keys(&mut keys).unwrap();
    let mut input = Endless { start: keys.clone(), given: 0 };
    let error = read_keys(&mut input, plan.server_plan()).err().unwrap();
    assert!(matches!(error, RemoteError::Length { .. }), "{error}");
    assert!(input.given <= keys.len() + 1024);
    let server = Server::new(plan.server_plan().clone(), &Device::cpu(None)).unwrap();
    let mut input = Endless { start: keys.clone(), given: 0 };
    let error = load_session(&mut input, &server).err().unwrap();
    assert!(matches!(error, RemoteError::Length { .. }), "{error}");
    assert!(input.given <= keys.len() + 1024);
}

#[test]
fn keys_that_are_loaded_one_by_one_are_the_same() {
    let Setup { plan, key, sent, .. } = &*SETUP;
    // Keys are drawn anew each time that they are written.
    let mut keys = Vec::new();
    key.write_keys(&mut keys).unwrap();
    let server = Server::new(plan.server_plan().clone(), &Device::cpu(None)).unwrap();
    let (session, origin) = load_session(&keys[..], &server).unwrap();
    assert_eq!(origin, *key.origin());
    let read = server.open_session(read_keys(&keys[..], plan.server_plan()).unwrap().0).unwrap();
    let [loaded, read] = [&session, &read]
        .map(|session| infer_items(session, &origin, &sent[..], Vec::new(), &mut |_, _| ()).unwrap().0);
    assert!(loaded == read, "results of the same ciphertexts and keys differ");
    assert!(matches!(
        load_session(&[&keys[..], b"x"].concat()[..], &server),
        Err(RemoteError::Length { .. })
    ));
    // Damage is called so in the table of keys, in seeds, and where a word is no residue.
    let at = keys.len() / 2;
    for damaged in [161, 170, 300, at, keys.len() - 40, keys.len() - 1] {
        let mut bytes = keys.clone();
        bytes[damaged..].iter_mut().take(8).for_each(|byte| *byte ^= 0xff);
        let error = load_session(&bytes[..], &server).err().unwrap();
        assert!(matches!(error, RemoteError::Digest), "{damaged}: {error}");
    }
    let cut = load_session(&keys[..at], &server);
    assert!(matches!(cut, Err(RemoteError::Length { got, .. }) if got == at as u64));
    let foreign = ClientKey::generate(key.bundle().clone()).unwrap();
    let mut other = Vec::new();
    foreign.write_keys(&mut other).unwrap();
    other[40] ^= 1;
    assert!(matches!(load_session(&other[..], &server), Err(RemoteError::OtherPlan { .. })));
}

#[test]
fn secrets_are_kept() {
    let Setup { key, sent, .. } = &*SETUP;
    assert_eq!(format!("{key:?}"), "ClientKey(..)");
    let secret = key.to_secret_bytes(None).unwrap();
    let seed = &secret[secret.len() - 64..secret.len() - 32];
    let mut keys = Vec::new();
    key.write_keys(&mut keys).unwrap();
    for bytes in [&keys[..], sent, &SETUP.received, &key.to_secret_bytes(Some(b"horse")).unwrap()] {
        assert!(!bytes.windows(8).any(|window| window == &seed[..8]), "the seed is in a file");
    }
    assert!(!sent.windows(5).any(|window| window == b"item "), "names are in a file");

    let open = |bytes: &[u8], passphrase: Option<&[u8]>| {
        ClientKey::from_secret_bytes(key.bundle().clone(), bytes, passphrase).err().unwrap()
    };
    let sealed = key.to_secret_bytes(Some(b"horse")).unwrap();
    assert!(matches!(open(&sealed, None), RemoteError::PassphraseMissing));
    assert!(matches!(open(&sealed, Some(b"mule")), RemoteError::WrongPassphrase));
    assert!(matches!(key.to_secret_bytes(Some(b"")), Err(RemoteError::EmptyPassphrase)));
    // A file that asks for terabytes of memory.
    let mut hostile = sealed[..sealed.len() - 32].to_vec();
    hostile[121..125].fill(0xff);
    let digest = Sha256::digest(&hostile);
    hostile.extend(digest);
    assert!(matches!(open(&hostile, Some(b"horse")), RemoteError::KeyDerivation(_)));
}

#[test]
fn files_of_others_are_named() {
    let Setup { plan, key, sent, .. } = &*SETUP;
    let bundle: Arc<ClientBundle> = key.bundle().clone();
    let other = ClientKey::generate(bundle).unwrap();
    let error = decrypted(&other, &SETUP.received).unwrap_err();
    assert!(matches!(error, RemoteError::OtherKey { .. }), "{error}");
    let error =
        infer_items(&SETUP.session, other.origin(), &sent[..], Vec::new(), &mut |_, _| ()).err().unwrap();
    assert!(matches!(error, RemoteError::OtherKey { .. }), "{error}");

    // The same plan with other names of classes is another bundle, and keys serve both at the server alone.
    let metadata = Metadata { scores: ScoreTransform::Sigmoid, ..Metadata::default() };
    let renamed = ClientBundle::tensor(compile(metadata).client_spec().clone()).unwrap();
    assert_eq!(renamed.spec().plan_digest(), plan.client_spec().plan_digest());
    let error =
        ClientKey::from_secret_bytes(renamed, &key.to_secret_bytes(None).unwrap(), None).err().unwrap();
    assert!(matches!(error, RemoteError::OtherBundle { .. }), "{error}");

    let metadata =
        Metadata { scores: ScoreTransform::ArgMax { axes: 1 << 40, last: false }, ..Metadata::default() };
    let bundle = ClientBundle::tensor(compile(metadata).client_spec().clone()).unwrap();
    let error = ClientBundle::from_bytes(&bundle.to_bytes().unwrap()).unwrap_err();
    assert!(matches!(error, RemoteError::Spec(_)) && error.to_string().contains("scores"), "{error}");

    let mut encryptor = ItemEncryptor::new(key, Vec::new()).unwrap();
    let error = encryptor.add(ItemNote::default(), ArrayD::zeros(vec![2, 2])).unwrap_err();
    assert!(matches!(error, RemoteError::ItemShape { .. }), "{error}");
    let long = ItemNote { name: "x".repeat(2 << 20), ..ItemNote::default() };
    let error = encryptor.add(long, ArrayD::zeros(key.bundle().item_shape())).unwrap_err();
    assert!(matches!(error, RemoteError::NoteLength { .. }), "{error}");
    // What failed is left out, and the rest is whole.
    encryptor.add(ItemNote::default(), ArrayD::zeros(key.bundle().item_shape())).unwrap();
    assert_eq!(encryptor.items(), 1);
    let (sent, _) = encryptor.finish().unwrap();
    let (received, frames, _) =
        infer_items(&SETUP.session, key.origin(), &sent[..], Vec::new(), &mut |_, _| ()).unwrap();
    assert_eq!((frames, decrypted(key, &received).unwrap().len()), (1, 1));
}

fn receipt_of(sent: &[u8], received: &[u8]) -> Receipt {
    let files = FileDigests {
        keys: [7; 32],
        input: Sha256::digest(sent).into(),
        output: Sha256::digest(received).into(),
    };
    Receipt::new(SETUP.session.plan(), SETUP.key.origin(), &files, 3, "a device")
}

#[test]
fn receipts_are_true_only_of_their_files() {
    let Setup { key, session, sent, received, .. } = &*SETUP;
    let receipt = receipt_of(sent, received);
    let wrong = |receipt: &Receipt, keys: [u8; 32], items: &[u8]| -> Vec<&'static str> {
        let checks = receipt.recompute(session, key.origin(), keys, items, &mut |_, _| ()).unwrap();
        checks.iter().filter(|check| !check.agrees()).map(|check| check.subject).collect()
    };
    assert_eq!(wrong(&receipt, [7; 32], sent), [""; 0]);
    // Other items of the client have other results; other bytes were never its keys.
    let other = encrypted(key, &SETUP.items);
    assert_eq!(wrong(&receipt, [8; 32], &other), ["keys", "input", "output"]);
    // A server that answers with a result of something else.
    let invented = Receipt { output_sha256: "00".repeat(32), groups: 4, ..receipt.clone() };
    assert_eq!(wrong(&invented, [7; 32], sent), ["groups", "output"]);
    let weaker = ReceiptParameters { security: 256, ..receipt.parameters.clone() };
    let boasting = Receipt { parameters: weaker, network: "another".into(), ..receipt };
    assert_eq!(wrong(&boasting, [7; 32], sent), ["parameters", "network"]);
}

#[test]
fn receipts_are_signed() {
    let receipt = receipt_of(&SETUP.sent, &SETUP.received);
    let signer = ReceiptSigner::generate().unwrap();
    let signed = signer.sign(receipt.clone()).unwrap();
    let json = signed.to_json().unwrap();
    assert_eq!(SignedReceipt::from_json(&json).unwrap(), signed);
    assert_eq!(signed.signer(), signer.public_key());
    let foreign = Receipt { device: "Gr\u{fc}n \u{1f600}".into(), ..receipt.clone() };
    let line = signer.sign(foreign.clone()).unwrap().to_ascii_line().unwrap();
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
    assert_eq!(*SignedReceipt::from_json(line.as_bytes()).unwrap().receipt(), foreign);
    assert_eq!(count_groups(&SETUP.received).unwrap(), 3);
    // The end has a note of a block at most.
    let without_end = SETUP.received.len() - 1500;
    assert!((0..without_end).step_by(997).all(|len| count_groups(&SETUP.received[..len]).is_err()));
    assert!((json.len() as u64) < MAX_RECEIPT);

    // Every character matters but white space, and the case of none.
    let text = String::from_utf8(json).unwrap();
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
        assert!(SignedReceipt::from_json(&changed).is_err(), "{at}: {}", String::from_utf8_lossy(&changed));
    }
    let other = ReceiptSigner::generate().unwrap().sign(receipt).unwrap().to_json().unwrap();
    let other: String = String::from_utf8(other).unwrap().lines().filter(|l| l.contains("signer")).collect();
    let own: String = text.lines().filter(|line| line.contains("signer")).collect();
    let error = SignedReceipt::from_json(text.replace(&own, &other).as_bytes()).unwrap_err();
    assert!(matches!(error, RemoteError::Signature), "{error}");
    let error = SignedReceipt::from_json(text.replace("receipt/1", "receipt/2").as_bytes()).unwrap_err();
    assert!(matches!(error, RemoteError::ReceiptVersion { .. }), "{error}");
    for unsigned in [text.replace("\"groups\"", "\"note\": \"\", \"groups\""), String::new(), "{}".into()] {
        let error = SignedReceipt::from_json(unsigned.as_bytes()).unwrap_err();
        assert!(matches!(error, RemoteError::NotAReceipt(_)), "{error}");
    }
    // The point of order one signs everything for verifiers that are not strict.
    let weak = text.replace(&own, &format!("\"signer\": \"01{}\",", "00".repeat(31)));
    let error = SignedReceipt::from_json(weak.as_bytes()).unwrap_err();
    assert!(matches!(error, RemoteError::Signature), "{error}");
}

#[test]
fn signing_keys_are_those_of_other_programs() {
    // The first key of RFC 8032, section 7.1, as OpenSSL writes it.
    let pem = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
        -----END PRIVATE KEY-----\n";
    let signer = ReceiptSigner::from_pem(pem).unwrap();
    assert_eq!(*signer.to_pem().unwrap(), pem);
    let public: String = signer.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(public, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(format!("{signer:?}"), "ReceiptSigner(..)");
    for bad in ["", "secret", &pem.replace("MC4", "MC5")] {
        assert!(matches!(ReceiptSigner::from_pem(bad), Err(RemoteError::SigningKey(_))), "{bad}");
    }
}

#[test]
fn arrays_share_ciphertexts_and_have_scores_of_their_own() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/pneumoniamnist/tiny.onnx");
    let network = import(&std::fs::read(path).unwrap(), &ImportOptions::default()).unwrap().network;
    let layout = Some(BatchLayout::SideBySide(2));
    let metadata = Metadata { scores: ScoreTransform::Softmax, ..Metadata::default() };
    let options = CompileOptions { batch: 2, layout, metadata, ..CompileOptions::default() };
    let plan = Plan::compile(&network, &options, &mut |_, _, _| ()).unwrap();
    let bundle = ClientBundle::tensor(plan.client_spec().clone()).unwrap();
    assert_eq!((bundle.group(), bundle.scores()), (2, ScoreTransform::Softmax));
    assert_eq!((bundle.item_shape(), bundle.score_shape()), (vec![1, 28, 28], vec![2]));
    let read = ClientBundle::from_bytes(&bundle.to_bytes().unwrap()).unwrap();
    assert!(read.takes_arrays() && read.digest() == bundle.digest() && read.task() == bundle.task());

    let key = ClientKey::generate(bundle).unwrap();
    let mut keys = Vec::new();
    key.write_keys(&mut keys).unwrap();
    let (keys, origin) = read_keys(&keys[..], plan.server_plan()).unwrap();
    let server = Server::new(plan.server_plan().clone(), &Device::cpu(None)).unwrap();
    let session = server.open_session(keys).unwrap();
    let items = ArrayD::from_shape_fn(vec![3, 1, 28, 28], |at| (at.as_array_view().sum() % 7) as f64 / 7.0);
    let sent = encrypted(&key, &items);
    let (received, groups, _) =
        infer_items(&session, &origin, &sent[..], Vec::new(), &mut |_, _| ()).unwrap();
    assert_eq!(groups, 2);
    let found = decrypted(&key, &received).unwrap();
    assert_eq!(found.len(), 3);
    let plaintext = network.evaluate(items.view()).unwrap();
    for (item, plaintext) in found.iter().zip(plaintext.outer_iter()) {
        assert!(item.scores.iter().zip(&plaintext).all(|(a, b)| (a - b).abs() < 0.02), "{:?}", item.scores);
    }
}
