//! Attributes, inputs and outputs of operators by version, and the check of a node against them.

/// Stands for any number of inputs or outputs.
pub(crate) const MANY: usize = usize::MAX;

/// An operator as the ONNX specification defines it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    /// `(version, fewest, most)`, from a version on.
    pub(crate) inputs: &'static [(i64, usize, usize)],
    pub(crate) outputs: usize,
    pub(crate) attributes: &'static [Attribute],
    /// First version with the operator.
    pub(crate) since: i64,
    /// First version without it.
    pub(crate) until: i64,
}

/// An attribute of an operator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    /// ONNX's number of the attribute's type.
    pub(crate) kind: i32,
    /// First version with the attribute.
    pub(crate) since: i64,
    /// First version without it.
    pub(crate) until: i64,
}

pub(crate) const fn op(
    name: &'static str,
    inputs: &'static [(i64, usize, usize)],
    attributes: &'static [Attribute],
) -> Schema {
    Schema { name, inputs, outputs: 1, attributes, since: 0, until: i64::MAX }
}

pub(crate) const fn float(name: &'static str) -> Attribute {
    attribute(name, 1)
}

pub(crate) const fn int(name: &'static str) -> Attribute {
    attribute(name, 2)
}

pub(crate) const fn text(name: &'static str) -> Attribute {
    attribute(name, 3)
}

pub(crate) const fn tensor(name: &'static str) -> Attribute {
    attribute(name, 4)
}

pub(crate) const fn floats(name: &'static str) -> Attribute {
    attribute(name, 6)
}

pub(crate) const fn ints(name: &'static str) -> Attribute {
    attribute(name, 7)
}

pub(crate) const fn texts(name: &'static str) -> Attribute {
    attribute(name, 8)
}

pub(crate) const fn sparse(name: &'static str) -> Attribute {
    attribute(name, 11)
}

const fn attribute(name: &'static str, kind: i32) -> Attribute {
    Attribute { name, kind, since: 0, until: i64::MAX }
}

impl Schema {
    pub(crate) const fn since(self, since: i64) -> Self {
        Self { since, ..self }
    }

    pub(crate) const fn until(self, until: i64) -> Self {
        Self { until, ..self }
    }

    pub(crate) const fn outputs(self, outputs: usize) -> Self {
        Self { outputs, ..self }
    }

    /// Whether operators of this version contain it.
    pub(crate) fn exists(&self, opset: i64) -> bool {
        (self.since..self.until).contains(&opset)
    }

    /// The fewest and the most inputs.
    pub(crate) fn input_count(&self, opset: i64) -> (usize, usize) {
        let found = self.inputs.iter().rev().find(|(since, ..)| *since <= opset);
        found.map_or((0, MANY), |&(_, fewest, most)| (fewest, most))
    }

    /// The attribute of a name.
    pub(crate) fn attribute(&self, name: &str, opset: i64) -> Option<&'static Attribute> {
        self.attributes.iter().find(|a| a.name == name && (a.since..a.until).contains(&opset))
    }
}

impl Attribute {
    pub(crate) const fn since(self, since: i64) -> Self {
        Self { since, ..self }
    }

    pub(crate) const fn until(self, until: i64) -> Self {
        Self { until, ..self }
    }
}
