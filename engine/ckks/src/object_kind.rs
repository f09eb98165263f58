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
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
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
    ];

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
        }
    }
}
