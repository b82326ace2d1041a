//! Looks whether all that the stores of a data directory hold can be read, and makes their copies anew.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use tokio::task::spawn_blocking;

use super::{Daemon, Error, index};
use crate::{
    journal::{self, Journal},
    run::RunId,
    store::{
        self, Store,
        sled::{Lock, Options, Sled, View},
    },
};

/// What is wrong with one store.
#[derive(Debug, Default)]
pub struct Checked {
    /// Where it is.
    pub dir: PathBuf,
    /// How many runs it holds.
    pub runs: usize,
    /// The runs that are damaged, and why.
    pub damaged: BTreeMap<RunId, String>,
    /// Places that cannot be read, with the file and the offset. What they held was read elsewhere, or nothing is known of it.
    pub places: Vec<String>,
    /// Why the store cannot be read at all.
    pub unusable: Option<String>,
}

impl Checked {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.places.is_empty() && self.unusable.is_none()
    }
}

impl Daemon {
    /// Reads everything that the stores hold: each record of their logs, each frame, and each blob. Writes nothing, and takes
    /// no lock. Nothing is checked of a store in memory.
    pub async fn check_stores(&self) -> Vec<Checked> {
        let mut all = Vec::new();
        for dir in self.slots.dirs() {
            let mut checked = Checked { dir: dir.to_owned(), ..Checked::default() };
            if let Err(error) = check(&mut checked).await {
                checked.unusable = Some(error.to_string());
            }
            all.push(checked);
        }
        all
    }

    /// Makes the copies of all stores anew from their logs. Returns their directories.
    ///
    /// # Errors
    /// When another process holds one of them, or one cannot be read.
    pub async fn rebuild_stores(&self) -> Result<Vec<PathBuf>, Error> {
        let dirs: Vec<PathBuf> = self.slots.dirs().map(Into::into).collect();
        for dir in dirs.clone() {
            let rebuilt = spawn_blocking(move || {
                let lock = Lock::take(&dir)?;
                let removed = index::remove(&dir);
                removed.map_err(|error| store::Error::Unusable(error.to_string().into()))?;
                Sled::open_locked(lock, Options::default())?.rebuild()
            });
            rebuilt.await.map_err(|error| store::Error::Unusable(error.to_string().into()))??;
        }
        Ok(dirs)
    }
}

async fn check(checked: &mut Checked) -> Result<(), store::Error> {
    let dir = checked.dir.clone();
    let (view, found) = spawn_blocking(move || Ok::<_, store::Error>((View::open(&dir)?, View::check(&dir)?)))
        .await
        .map_err(|error| store::Error::Unusable(error.to_string().into()))??;
    checked.places = found.places.iter().map(|place| place.to_string()).collect();
    checked.damaged = found.runs.into_iter().map(|(run, reason)| (run, reason.to_string())).collect();
    let heads = view.heads(None, usize::MAX).await?;
    checked.runs = heads.iter().filter(|head| head.length > 0 || head.damage.is_some()).count();
    let view: Arc<dyn Store> = Arc::new(view);
    for head in heads.into_iter().filter(|head| head.damage.is_none()) {
        match Journal::read(&*view, head.run).await {
            Ok(_) => {}
            Err(journal::Error::Store(error)) => return Err(error),
            Err(error) => {
                let said =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), |source| source.to_string());
                checked.damaged.entry(head.run).or_insert(said);
            }
        }
    }
    Ok(())
}
