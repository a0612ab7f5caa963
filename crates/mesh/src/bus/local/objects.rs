//! Objects within the process.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::time::Instant;
use toolbus_model::BoxFuture;

use super::lock;
use crate::bus::{BusError, OBJECT_AGE, OBJECT_BYTES, Objects};

/// A store of objects.
#[derive(Debug, Default)]
pub(super) struct LocalObjects {
    kept: Mutex<HashMap<String, (Bytes, Instant)>>,
}

impl LocalObjects {
    fn set(&self, name: &str, body: Bytes) -> Result<(), BusError> {
        let now = Instant::now();
        let mut kept = lock(&self.kept);
        kept.retain(|_, (_, ends)| *ends > now);
        kept.remove(name);
        let used: usize = kept.values().map(|(body, _)| body.len()).sum();
        if used + body.len() > OBJECT_BYTES {
            return Err(BusError(format!(
                "the mesh's store of objects is full: {used} of {OBJECT_BYTES} bytes are used, and {} more do not fit",
                body.len()
            )));
        }
        kept.insert(name.to_owned(), (body, now + OBJECT_AGE));
        Ok(())
    }

    fn read(&self, name: &str, limit: usize) -> Result<Bytes, BusError> {
        let kept = lock(&self.kept);
        let found = kept.get(name).filter(|(_, ends)| *ends > Instant::now());
        match found {
            None => Err(BusError::no_object(name)),
            Some((body, _)) if body.len() > limit => {
                Err(BusError::object_too_large(name, body.len(), limit))
            }
            Some((body, _)) => Ok(body.clone()),
        }
    }
}

impl Objects for LocalObjects {
    fn put<'a>(&'a self, name: &'a str, body: Bytes) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move { self.set(name, body) })
    }

    fn get<'a>(&'a self, name: &'a str, limit: usize) -> BoxFuture<'a, Result<Bytes, BusError>> {
        Box::pin(async move { self.read(name, limit) })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BusError>> {
        Box::pin(async move {
            lock(&self.kept).remove(name);
            Ok(())
        })
    }
}
