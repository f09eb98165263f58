//! Weights in files next to the model.

use crate::constant::{Constant, External as Place};
use crate::limits::MAX_BYTES;
use crate::problem::Problem;
use crate::proto;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// A directory of files with weights, and how much may yet be read of them.
#[derive(Debug)]
pub(crate) struct External<'a> {
    directory: Option<&'a Path>,
    left: u64,
    read: BTreeSet<PathBuf>,
}

impl<'a> External<'a> {
    pub(crate) fn new(directory: Option<&'a Path>) -> Self {
        Self { directory, left: MAX_BYTES as u64, read: BTreeSet::new() }
    }

    /// The files that were read.
    pub(crate) fn into_read(self) -> Vec<PathBuf> {
        self.read.into_iter().collect()
    }

    /// A tensor of the model, whose elements may be in a file.
    pub(crate) fn parse(&mut self, tensor: &proto::Tensor) -> Result<Constant, Problem> {
        match Place::of(tensor)? {
            None => Constant::parse(tensor),
            Some(place) => {
                let raw_data = self.read(&place)?;
                let data_location = 0;
                let external_data = Vec::new();
                let inside = proto::Tensor { raw_data, data_location, external_data, ..tensor.clone() };
                Constant::parse(&inside)
            }
        }
    }

    /// The bytes of a tensor. Only files within the directory are read.
    fn read(&mut self, place: &Place) -> Result<Vec<u8>, Problem> {
        let location = place.location.clone();
        let Some(directory) = self.directory else { return Err(Problem::External { location }) };
        let fail = |reason: String| Problem::ExternalFile { location: place.location.clone(), reason };
        let path = Path::new(&place.location);
        if place.location.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(fail("it is not a path below the directory of the model".to_owned()));
        }
        let io = |error: std::io::Error| fail(error.to_string());
        let path = directory.join(path).canonicalize().map_err(io)?;
        let directory = directory.canonicalize().map_err(io)?;
        if !path.starts_with(&directory) || !path.metadata().map_err(io)?.is_file() {
            return Err(fail("it is no file below the directory of the model".to_owned()));
        }
        let mut file = File::open(&path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let rest = size.saturating_sub(place.offset);
        let length = place.length.unwrap_or(rest);
        if length > rest {
            return Err(fail(format!("{length} bytes from {} on are more than its {size}", place.offset)));
        }
        self.left = self
            .left
            .checked_sub(length)
            .ok_or_else(|| fail(format!("more than {MAX_BYTES} bytes in all")))?;
        file.seek(SeekFrom::Start(place.offset)).map_err(io)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(io)?;
        self.read.insert(path);
        Ok(bytes)
    }
}
