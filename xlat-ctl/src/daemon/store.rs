//! Where the entries added by command live.

use crate::eam::Entry;

/// A change that could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct StoreError(pub(super) String);

/// Keeps the dynamic entries. A change counts as acknowledged when the call returns.
pub(super) trait Store: Send {
    /// Every entry kept, read once when the daemon starts.
    ///
    /// # Errors
    /// The entries cannot be read.
    fn entries(&mut self) -> Result<Vec<Entry>, StoreError>;

    /// Keeps an entry.
    ///
    /// # Errors
    /// The entry is not kept.
    fn insert(&mut self, entry: &Entry) -> Result<(), StoreError>;

    /// Forgets an entry.
    ///
    /// # Errors
    /// The entry is still kept.
    fn remove(&mut self, entry: &Entry) -> Result<(), StoreError>;
}

/// Keeps entries as long as the daemon lives: the registry itself is the only copy.
#[derive(Debug, Default)]
pub(super) struct Volatile;

impl Store for Volatile {
    fn entries(&mut self) -> Result<Vec<Entry>, StoreError> {
        Ok(Vec::new())
    }

    fn insert(&mut self, _entry: &Entry) -> Result<(), StoreError> {
        Ok(())
    }

    fn remove(&mut self, _entry: &Entry) -> Result<(), StoreError> {
        Ok(())
    }
}
