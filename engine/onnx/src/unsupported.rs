//! Operators that cannot run on encrypted values, by what to do instead.

/// Reason why an operator cannot run on encrypted values, and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// Pooling by maxima or norms.
    #[error("ciphertexts cannot be compared; train with average pooling instead")]
    MaxPool,
    /// A comparison or a choice between values.
    #[error("ciphertexts cannot be compared; leave it to the client at the end, or use polynomials")]
    Comparison,
    /// A softmax that is not the last operation.
    #[error("ciphertexts cannot compute it inside a network; leave it to the client or use polynomials")]
    Softmax,
    /// A leaky activation whose slopes differ.
    #[error("its slopes differ by channel; replace it by a polynomial such as a*x^2 + b*x + c and train")]
    Slopes,
    /// A function that is no polynomial and has no approximation here.
    #[error("ciphertexts cannot compute it; replace it by a polynomial such as a*x^2 + b*x + c and train")]
    Function,
    /// Normalization by statistics of the encrypted values.
    #[error("it divides by a norm of the encrypted values; train with batch normalization instead")]
    Normalization,
    /// Division by an encrypted value.
    #[error("it divides by an encrypted value; multiply by a constant or a polynomial instead")]
    Division,
    /// A product of two encrypted matrices.
    #[error("it multiplies two encrypted matrices, as attention does; only constant weights work")]
    EncryptedMatrices,
    /// A product whose encrypted side is transposed, or stands right.
    #[error(
        "its encrypted side is transposed or stands right, so the batch is not first; transpose the weights instead"
    )]
    EncryptedSide,
    /// A reduction that is no sum.
    #[error("ciphertexts are reduced by sums only; replace it by ReduceMean or ReduceSum")]
    Reduction,
    /// Rounding of encrypted values to integers.
    #[error("it rounds an encrypted value to integers, which is no polynomial; remove it")]
    Rounding,
    /// Interpolation between elements.
    #[error(
        "resizing supports the nearest element, linear and, from version 11 on, cubic interpolation only; choose one of these"
    )]
    Interpolation,
    /// A transposed convolution over volumes.
    #[error(
        "transposed convolutions over volumes are not supported; repeat elements by Resize before a convolution"
    )]
    TransposedVolume,
    /// A softmax or a label of a part of the item.
    #[error(
        "a client computes it from all results of an item together, and it is taken along one of several axes; leave it out \
         of the model, and compute it from the decrypted results"
    )]
    PartOfItem,
    /// Control flow.
    #[error("sub-graphs are not supported; export the network without control flow")]
    ControlFlow,
    /// A recurrent layer.
    #[error("recurrent layers are not supported; use convolutions or dense layers")]
    Recurrent,
    /// A layer on integers.
    #[error("quantized layers are not supported; export the network in floating point")]
    Quantized,
    /// A constant that is neither a tensor nor numbers.
    #[error("only constants that are tensors or numbers are supported; export the model again")]
    ConstantKind,
    /// An operator that the importer does not know.
    #[error(
        "this operator is not supported; rewrite the network with convolutions, dense layers, sums, products and \
         polynomials"
    )]
    Operator,
}

impl Unsupported {
    /// The reason to refuse an operator of this name.
    pub(crate) fn operator(op: &str) -> Self {
        match op {
            "MaxPool" | "GlobalMaxPool" | "LpPool" | "GlobalLpPool" | "MaxRoiPool" => Self::MaxPool,
            "PRelu" => Self::Slopes,
            "Softmax" | "LogSoftmax" => Self::Softmax,
            "ArgMax" | "ArgMin" | "TopK" | "Max" | "Min" | "Greater" | "Less" | "GreaterOrEqual"
            | "LessOrEqual" | "Equal" | "Where" | "NonMaxSuppression" | "NonZero" | "Sign" | "Not"
            | "And" | "Or" => Self::Comparison,
            "InstanceNormalization"
            | "LayerNormalization"
            | "GroupNormalization"
            | "LpNormalization"
            | "LRN"
            | "MeanVarianceNormalization"
            | "RMSNormalization" => Self::Normalization,
            "Sqrt" | "Reciprocal" | "Log" | "Sin" | "Cos" | "Floor" | "Ceil" | "Round"
            | "ThresholdedRelu" | "Celu" | "Mish" | "Softsign" | "Shrink" => Self::Function,
            "If" | "Loop" | "Scan" | "SequenceMap" => Self::ControlFlow,
            "LSTM" | "GRU" | "RNN" => Self::Recurrent,
            "QuantizeLinear"
            | "DequantizeLinear"
            | "DynamicQuantizeLinear"
            | "QLinearConv"
            | "ConvInteger"
            | "MatMulInteger"
            | "QLinearMatMul" => Self::Quantized,
            _ => Self::Operator,
        }
    }
}
