//! Arguments of a client that name a server, and the client's keys.

use crate::cmd::remote::secret::{self, PassphraseArgs};
use crate::model::read_items;
use crate::text::{bytes_text, hex};
use crate::{files, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use ndarray::Axis;
use pleura::remote::{
    ClientBundle, ClientKey, DecryptedItem, ItemDecryptor, ItemEncryptor, ItemNote, RemoteError,
    stated_origin,
};
use pleura_service::api::Model;
use pleura_service::client::{Answer, ClientError, Options, ServiceClient};
use pleura_service::problem::Code;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Larger files of certificates are refused.
const MAX_PEM: u64 = 1 << 20;
/// Larger files of evaluation keys are refused.
const MAX_KEYS: u64 = 16 << 30;

/// Ciphertext groups of a request: the server answers all of them at once.
pub(crate) const GROUPS: usize = 4;

/// Server, and the keys of its client.
#[derive(Args)]
pub(crate) struct ServerArgs {
    /// Compute on the server at this address, `https://HOST:PORT`, which gets only ciphertexts.
    #[arg(long, value_name = "URL", requires = "token_file")]
    server: Option<String>,

    /// Certificates of trusted authorities, in PEM [default: those of Mozilla].
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,

    /// File with the token for the server, readable by its owner only.
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,

    /// Secret key, made if the file does not exist; FILE.eval has the evaluation keys [default: new keys for each run].
    #[arg(long, value_name = "FILE", requires = "server")]
    secret: Option<PathBuf>,

    #[command(flatten)]
    passphrase: PassphraseArgs,

    /// Folder for evaluation keys, and ciphertexts and signed receipt of each request, for `pleura audit`.
    #[arg(long, value_name = "DIR", requires = "server")]
    receipts: Option<PathBuf>,

    /// Public key of the server's receipts [default: the one that the server states].
    #[arg(long, value_name = "KEY", requires = "server")]
    signer: Option<String>,

    /// Seconds to repeat requests while the server cannot be reached or is busy.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "server", value_parser = RangedU64ValueParser::<u64>::new().range(..=31_536_000))]
    patience: u64,
}

/// A client with its keys on the server.
pub(crate) struct Connection {
    client: Arc<ServiceClient>,
    pub(crate) key: ClientKey,
    model: Model,
    /// Evaluation keys, which are uploaded again if the server has lost them.
    keys: Vec<u8>,
    id: String,
    receipts: Option<PathBuf>,
    /// Whether the keys are for this run only.
    once: bool,
}

impl ServerArgs {
    /// Whether there is a server.
    pub(crate) fn is_given(&self) -> bool {
        self.server.is_some()
    }

    /// Checks that no output of a command is one of the files of keys, which are made if they are not there.
    pub(crate) fn check_outputs<'a>(&self, outputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
        let keys = self.secret.iter().flat_map(|path| [path.clone(), beside(path)]);
        let all: Vec<PathBuf> = outputs.into_iter().cloned().chain(keys).collect();
        Ok(files::apart(&all, std::iter::empty::<&Path>())?)
    }

    /// Files that are read.
    pub(crate) fn files(&self) -> Vec<&PathBuf> {
        self.ca.iter().chain(&self.token_file).chain(&self.secret).chain(self.passphrase.file()).collect()
    }

    /// Connects, and uploads keys that the server does not have. `wanted` names the model; without it,
    /// the only one of the server is taken.
    pub(crate) fn connect(&self, wanted: Option<&str>) -> Result<Connection> {
        let (Some(url), Some(token_file)) = (&self.server, &self.token_file) else {
            bail!("--server URL and --token-file FILE name the server and its token");
        };
        let token = secret::from_file(token_file)?;
        let authorities = self.ca.as_ref().map(|path| files::read(path, MAX_PEM)).transpose()?;
        let client = ServiceClient::new(&Options {
            url,
            authorities: authorities.as_deref(),
            token: token.trim(),
            patience: Duration::from_secs(self.patience),
        })?;
        let patience = self.patience;
        let client = Arc::new(client.observed(move |error| tell(error, patience)));
        let models = client.models().with_context(|| format!("cannot use {url}"))?;
        let mut model = choose(models, wanted)?;
        if let Some(signer) = &self.signer {
            model.receipt_signer.clone_from(signer);
        }
        let bundle = client.bundle(&model)?;
        let (key, keys) = self.keys(bundle)?;
        let id = hex(&Sha256::digest(&keys));
        let receipts = self.receipts.clone();
        let connection = Connection { client, key, model, keys, id, receipts, once: self.secret.is_none() };
        connection.upload()?;
        if let Some(folder) = &connection.receipts {
            fs::create_dir_all(folder).with_context(|| files::cannot_write(folder))?;
            let path = folder.join(format!("{}.keys", short(&connection.id)));
            files::write(&path, &[&connection.keys], true, false)?;
        }
        Ok(connection)
    }

    /// Secret key and evaluation keys: those of the files, or new ones.
    fn keys(&self, bundle: ClientBundle) -> Result<(ClientKey, Vec<u8>)> {
        let Some(path) = &self.secret else { return new_keys(bundle) };
        let beside = beside(path);
        if fs::symlink_metadata(path).is_ok() {
            let failed = || format!("cannot use {}", path.display());
            let bytes = secret::read(path)?;
            let passphrase = self.passphrase.of_key(path, &bytes).with_context(failed)?;
            let passphrase = passphrase.as_deref().map(String::as_bytes);
            let key = ClientKey::from_secret_bytes(bundle, &bytes, passphrase).with_context(failed)?;
            let keys = if fs::symlink_metadata(&beside).is_ok() {
                of_key(&key, &beside)?
            } else {
                // An interruption came between the two files.
                let keys = evaluation_keys(&key)?;
                files::write(&beside, &[&keys], false, true)?;
                keys
            };
            return Ok((key, keys));
        }
        files::check_outputs(&[path, &beside], self.files(), false)?;
        let passphrase = self.passphrase.of_new_key(false)?;
        let (key, keys) = new_keys(bundle)?;
        let bytes = key.to_secret_bytes(passphrase.as_deref().map(String::as_bytes))?;
        files::write(path, &[&bytes], false, true)?;
        files::write(&beside, &[&keys], false, true)?;
        terminal::note(&format!("{} is a new secret key: keep it on this machine", path.display()));
        Ok((key, keys))
    }
}

impl Connection {
    /// Uploads the keys. Those of one run are deleted by an interruption, too.
    fn upload(&self) -> Result<()> {
        let bytes = self.keys.len() as u64;
        if self.once {
            let client = self.client.clone();
            let id = self.id.clone();
            files::set_last(Some(Box::new(move || drop(client.delete_keys(&id)))));
        }
        let bar = crate::progress::bytes_bar().with_prefix("upload");
        bar.set_length(bytes);
        self.client.upload_keys(&self.model, &self.keys, &mut |bytes| bar.set_position(bytes))?;
        bar.finish_and_clear();
        terminal::detail(&format!("keys {} are on the server, {}", self.id, bytes_text(bytes)));
        Ok(())
    }

    /// The results of encrypted items. The receipt is kept if there is a folder for it.
    pub(crate) fn infer(&self, items: &[u8]) -> Result<Vec<u8>> {
        let Answer { results, receipt } = match self.client.infer_signed(&self.id, items) {
            Err(ClientError::Refused(problem)) if problem.code == Code::UnknownKeys => {
                self.client.upload_keys(&self.model, &self.keys, &mut |_| ())?;
                self.client.infer_signed(&self.id, items)
            }
            answered => answered,
        }?;
        let got = hex(&receipt.signer());
        if got != self.model.receipt_signer {
            bail!(ClientError::OtherSigner { expected: self.model.receipt_signer.clone(), got });
        }
        let stated = receipt.receipt();
        let origin = self.key.origin();
        let expected = [hex(&origin.plan), hex(&origin.bundle), hex(&origin.key)];
        if [&stated.plan, &stated.bundle, &stated.key] != [&expected[0], &expected[1], &expected[2]] {
            bail!(ClientError::OtherOrigin);
        }
        if let Some(folder) = &self.receipts {
            let name = short(&receipt.receipt().input_sha256);
            let file = |kind: &str| folder.join(format!("{name}.{kind}"));
            files::write(&file("x.ct"), &[items], true, false)?;
            files::write(&file("y.ct"), &[&results], true, false)?;
            files::write(&file("json"), &[&receipt.to_json()?], true, false)?;
        }
        Ok(results)
    }

    /// Results of a file of arrays, in requests of some ciphertext groups each.
    pub(crate) fn run_arrays(&self, path: &Path) -> Result<Vec<DecryptedItem>> {
        let bundle = self.key.bundle();
        if !bundle.takes_arrays() {
            bail!(
                "the network on the server takes X-rays, not arrays: `pleura classify --server` sends them"
            );
        }
        let items = read_items(path, &bundle.item_shape())?;
        let bar = crate::progress::bar().with_prefix("run");
        bar.set_length(items.len_of(Axis(0)) as u64);
        let mut results = Vec::new();
        for part in items.axis_chunks_iter(Axis(0), GROUPS * bundle.group()) {
            let mut encryptor = ItemEncryptor::new(&self.key, Vec::new())?;
            for (number, item) in part.outer_iter().enumerate() {
                let name = format!("{}[{}]", path.display(), results.len() + number);
                encryptor.add(ItemNote { name, ..ItemNote::default() }, item.to_owned())?;
            }
            let answer = self.infer(&encryptor.finish()?.0)?;
            let mut decryptor = ItemDecryptor::new(&self.key, &answer[..])?;
            let before = results.len();
            while let Some(group) = decryptor.next_group()? {
                results.extend(group);
            }
            if results.len() - before != part.len_of(Axis(0)) {
                bail!(ClientError::OtherResults);
            }
            bar.set_position(results.len() as u64);
        }
        bar.finish_and_clear();
        Ok(results)
    }

    /// Name of the network and digest of its plan: rows of equal identity may be mixed.
    pub(crate) fn identity(&self) -> String {
        let digest = hex(self.key.bundle().spec().plan_digest().iter().take(4));
        format!("{}@plan-{digest}", self.key.bundle().spec().network())
    }
}

impl Drop for Connection {
    /// Deletes keys that nobody needs any more, however the run ended.
    fn drop(&mut self) {
        if !self.once {
            return;
        }
        match self.client.delete_keys(&self.id) {
            Ok(()) => (),
            Err(ClientError::Refused(problem)) if problem.code == Code::UnknownKeys => (),
            Err(error) => {
                terminal::warn(&format!(
                    "the keys of this run stay on the server until they expire: {error}"
                ));
            }
        }
        files::set_last(None);
    }
}

/// A note that a request is repeated because of the network. A busy server is no news.
fn tell(error: &ClientError, patience: u64) {
    if matches!(error, ClientError::Network(_)) {
        terminal::note(&format!("{error}: the request is repeated for up to {patience} s (--patience)"));
    }
}

fn new_keys(bundle: ClientBundle) -> Result<(ClientKey, Vec<u8>)> {
    let key = ClientKey::generate(Arc::new(bundle))?;
    let keys = evaluation_keys(&key)?;
    Ok((key, keys))
}

fn evaluation_keys(key: &ClientKey) -> Result<Vec<u8>> {
    let mut keys = Vec::new();
    key.write_keys(&mut keys)?;
    Ok(keys)
}

/// The evaluation keys in a file, which are those of a secret key.
fn of_key(key: &ClientKey, path: &Path) -> Result<Vec<u8>> {
    let failed = || format!("cannot use {}", path.display());
    let keys = files::read(path, MAX_KEYS)?;
    let origin = stated_origin(&keys).with_context(failed)?;
    let origin = origin.ok_or(RemoteError::Digest).with_context(failed)?;
    origin.check(key.origin()).with_context(failed)?;
    Ok(keys)
}

/// Where the evaluation keys of a secret key lie.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".eval");
    name.into()
}

/// First digits of a digest, as the name of a file.
fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

fn choose(mut models: Vec<Model>, wanted: Option<&str>) -> Result<Model> {
    let names: Vec<_> = models.iter().map(|model| model.name.clone()).collect();
    if let Some(wanted) = wanted {
        let Some(at) = names.iter().position(|name| name == wanted) else {
            bail!("the server offers {}, and not {wanted}", names.join(", "));
        };
        return Ok(models.swap_remove(at));
    }
    match (models.pop(), models.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => bail!("the server offers no network: ask its operator"),
        _ => bail!("the server offers {}: --model NAME chooses one", names.join(", ")),
    }
}
