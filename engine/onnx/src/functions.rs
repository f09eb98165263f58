//! Operators that a model defines itself: each call becomes the nodes of the function.

use crate::{ImportError, Problem};
use crate::{graph, proto};
use std::collections::HashMap;

/// Most nodes that calls may become.
const MAX_NODES: usize = 1 << 18;
/// Most calls within calls.
const MAX_DEPTH: usize = 32;

/// Domain, name and overload.
type Key<'a> = (&'a str, &'a str, &'a str);

/// Puts the nodes of functions in place of calls.
pub(crate) fn inline(model: &mut proto::Model, opset: i64) -> Result<(), ImportError> {
    let functions = std::mem::take(&mut model.functions);
    let Some(graph) = model.graph.as_mut().filter(|_| !functions.is_empty()) else { return Ok(()) };
    let table: HashMap<Key<'_>, &proto::Function> =
        functions.iter().map(|f| ((f.domain.as_str(), f.name.as_str(), f.overload.as_str()), f)).collect();
    if table.len() < functions.len() {
        return Err(ImportError::DuplicateFunction);
    }
    let mut out = Vec::with_capacity(graph.node.len());
    // A stack: the next node is the last one. Each has the number of calls it is within.
    let mut open: Vec<(proto::Node, usize)> =
        std::mem::take(&mut graph.node).into_iter().rev().map(|node| (node, 0)).collect();
    let mut calls = 0usize;
    while let Some((node, depth)) = open.pop() {
        let Some(function) =
            table.get(&(node.domain.as_str(), node.op_type.as_str(), node.overload.as_str()))
        else {
            out.push(node);
            continue;
        };
        let fail = |problem| {
            let name = graph::name_of(&node);
            let op = node.op_type.clone();
            ImportError::Node { name, op, problem }
        };
        check(function, &node, opset).map_err(fail)?;
        let own = function.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
        if let Some(found) = own.map(|set| set.version).filter(|&version| version != opset) {
            return Err(fail(Problem::FunctionVersion { found, opset }));
        }
        calls += 1;
        if depth >= MAX_DEPTH || calls + open.len() + out.len() + function.node.len() > MAX_NODES {
            return Err(fail(Problem::FunctionSize));
        }
        let body: Vec<proto::Node> = called(function, &node, calls);
        open.extend(body.into_iter().rev().map(|inner| (inner, depth + 1)));
    }
    graph.node = out;
    Ok(())
}

/// Refuses a call that the function does not declare.
fn check(function: &proto::Function, call: &proto::Node, opset: i64) -> Result<(), Problem> {
    if matches!(call.domain.as_str(), "" | "ai.onnx") {
        return Err(Problem::FunctionName);
    }
    for (what, found, limit) in [
        ("inputs", call.input.len(), function.input.len()),
        ("outputs", call.output.len(), function.output.len()),
    ] {
        if found > limit {
            return Err(Problem::Operands { what, found, limit, opset });
        }
    }
    let declared = |name: &String| {
        function.attribute.contains(name) || function.attribute_proto.iter().any(|a| a.name == *name)
    };
    match call.attribute.iter().find(|a| !declared(&a.name)) {
        Some(unknown) => Err(Problem::UnknownAttribute { name: unknown.name.clone(), opset }),
        None => Ok(()),
    }
}

/// The nodes of a function with the names and attributes of a call.
fn called(function: &proto::Function, call: &proto::Node, number: usize) -> Vec<proto::Node> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    for (i, name) in function.input.iter().enumerate() {
        names.insert(name, call.input.get(i).map_or("", String::as_str));
    }
    for (name, outer) in function.output.iter().zip(&call.output).filter(|(_, outer)| !outer.is_empty()) {
        names.insert(name, outer);
    }
    // Names of values are unique by the number of the call.
    let renamed = |name: &String| match names.get(name.as_str()) {
        Some(outer) => (*outer).to_owned(),
        None if name.is_empty() => String::new(),
        None => format!("{}#{number}/{name}", function.name),
    };
    let given = |name: &str| {
        let own = call.attribute.iter().find(|a| a.name == name);
        own.or_else(|| function.attribute_proto.iter().find(|a| a.name == name))
    };
    let attribute = |a: &proto::Attribute| match a.ref_attr_name.as_str() {
        "" => Some(a.clone()),
        outer => given(outer).map(|value| proto::Attribute { name: a.name.clone(), ..value.clone() }),
    };
    function
        .node
        .iter()
        .map(|node| proto::Node {
            input: node.input.iter().map(renamed).collect(),
            output: node.output.iter().map(renamed).collect(),
            name: if node.name.is_empty() {
                call.name.clone()
            } else {
                format!("{}/{}", call.name, node.name)
            },
            attribute: node.attribute.iter().filter_map(attribute).collect(),
            ..node.clone()
        })
        .collect()
}
