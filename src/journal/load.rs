//! Reads a whole journal and trusts nothing: every frame by its checksum, their order by the chain, their number and
//! end by the head, every blob by its hash.

use crate::{
    run::{Entry, RunId},
    store::{self, Chain, Head, Store},
};

use super::{
    Damage, Error, frame,
    v1::{self, Incoming},
};

/// The entries of a run that somebody else may own: as many as its head tells of when this is called.
pub(super) async fn any(store: &dyn Store, run: RunId) -> Result<Vec<Entry>, Error> {
    let head = store.head(run).await?.ok_or(store::Error::NotFound(run))?;
    match entries(store, &head, false).await {
        // It may have been deleted meanwhile, which looks like damage.
        Err(error @ Error::Corrupt { .. }) if store.head(run).await?.is_some() => Err(error),
        Err(Error::Corrupt { .. }) => Err(store::Error::NotFound(run).into()),
        other => other,
    }
}

/// The entries of a run that was just claimed, with the head that the claim returned.
pub(super) async fn owned(store: &dyn Store, head: &Head) -> Result<Vec<Entry>, Error> {
    match entries(store, head, true).await {
        // Somebody may have claimed and extended it meanwhile, which looks like damage.
        Err(error @ Error::Corrupt { .. }) => match store.head(head.run).await? {
            Some(now) if now.epoch == head.epoch => Err(error),
            now => Err(Error::Fenced { run: head.run, epoch: now.map_or(0, |now| now.epoch) }),
        },
        other => other,
    }
}

/// Reads what `head` tells of. `whole` refuses entries beyond that, which an owner may be adding otherwise.
async fn entries(store: &dyn Store, head: &Head, whole: bool) -> Result<Vec<Entry>, Error> {
    let corrupt = |index: u64, source: Damage| Error::Corrupt { run: head.run, index: Some(index), source };
    let frames = store.read(head.run, 0).await?;
    let found = frames.len() as u64;
    if found < head.length || (whole && found > head.length) {
        return Err(corrupt(found.min(head.length), Damage::Length { expected: head.length, found }));
    }

    let mut entries = Vec::with_capacity(frames.len());
    let mut texts = Incoming::default();
    let (mut chain, mut epoch) = (Chain::default(), 0);
    for (index, bytes) in (0..head.length).zip(frames) {
        let frame = frame::decode(&bytes).map_err(|error| corrupt(index, error.into()))?;
        frame.verify(chain).map_err(|error| corrupt(index, error.into()))?;
        if frame.epoch < epoch {
            return Err(corrupt(index, Damage::Epoch { before: epoch, found: frame.epoch }));
        }
        if frame.epoch > head.epoch {
            return Err(corrupt(index, Damage::Epoch { before: head.epoch, found: frame.epoch }));
        }
        (chain, epoch) = (frame.chain, frame.epoch);
        entries.push(loop {
            let entry = v1::decode(index, &frame, &mut texts).map_err(|source| corrupt(index, source))?;
            if texts.missing.is_empty() {
                break entry;
            }
            for hash in std::mem::take(&mut texts.missing) {
                let blob = store.get_blob(head.run, hash).await?;
                let missing = || corrupt(index, Damage::Blob { hash: v1::hex(hash), reason: "is missing" });
                texts.insert(hash, &blob.ok_or_else(missing)?).map_err(|source| corrupt(index, source))?;
            }
        });
    }
    if chain != head.chain {
        return Err(corrupt(head.length.saturating_sub(1), Damage::End));
    }
    Ok(entries)
}
