//! Kinds of objects that are written as bytes.

/// Kind of an object that has a header of [`crate::wire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// [`crate::Params`]
    Params = 1,
    /// [`crate::Ciphertext`]
    Ciphertext = 2,
    /// [`crate::PublicKey`]
    PublicKey = 3,
    /// [`crate::SwitchingKey`]
    SwitchingKey = 4,
    /// [`crate::EvaluationKeys`]
    EvaluationKeys = 5,
    /// [`crate::SecretKey`]
    SecretKey = 6,
    /// [`crate::KeyRequest`]
    KeyRequest = 7,
    /// Client half of a compiled network.
    ClientSpec = 16,
    /// Server half of a compiled network.
    ServerPlan = 17,
    /// Both halves of a compiled network.
    Plan = 18,
    /// Client half of a compiled network, with the preparation of its inputs.
    ClientBundle = 19,
    /// Secret key of a client, possibly under a passphrase.
    ClientSecret = 20,
    /// Evaluation keys of a client.
    SessionKeys = 21,
    /// Encrypted inputs of a network.
    EncryptedItems = 22,
    /// Encrypted results of a network.
    EncryptedResults = 23,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Params,
        Self::Ciphertext,
        Self::PublicKey,
        Self::SwitchingKey,
        Self::EvaluationKeys,
        Self::SecretKey,
        Self::KeyRequest,
        Self::ClientSpec,
        Self::ServerPlan,
        Self::Plan,
        Self::ClientBundle,
        Self::ClientSecret,
        Self::SessionKeys,
        Self::EncryptedItems,
        Self::EncryptedResults,
    ];

    /// Version of the format, the only one that is read.
    pub fn version(self) -> u16 {
        match self {
            Self::Ciphertext | Self::PublicKey | Self::SwitchingKey | Self::EvaluationKeys => 2,
            _ => 1,
        }
    }

    /// The kind with an article, as in "a ciphertext".
    pub fn name(self) -> &'static str {
        match self {
            Self::Params => "parameters",
            Self::Ciphertext => "a ciphertext",
            Self::PublicKey => "a public key",
            Self::SwitchingKey => "a switching key",
            Self::EvaluationKeys => "evaluation keys",
            Self::SecretKey => "a secret key",
            Self::KeyRequest => "a key request",
            Self::ClientSpec => "a client specification",
            Self::ServerPlan => "a server plan",
            Self::Plan => "a plan",
            Self::ClientBundle => "a client bundle",
            Self::ClientSecret => "the secret key of a client",
            Self::SessionKeys => "the evaluation keys of a client",
            Self::EncryptedItems => "encrypted items",
            Self::EncryptedResults => "encrypted results",
        }
    }
}
