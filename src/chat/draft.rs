//! What was written of a conversation, so that its next request only adds to it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::Message;

/// The messages of a conversation as its latest request said them. Conversations grow at their end, and requests hold all of
/// them: what was written for the one before is most of the next. All requests of a conversation share it, and it is no
/// part of what they ask, so that any two are equal. It is as large as the latest request.
#[derive(Clone, Default)]
pub struct Draft(Arc<Mutex<Option<Written>>>);

/// A request that was written.
pub struct Written {
    /// For whom: others have the same messages in another form.
    pub issuer: Box<str>,
    /// The messages in its beginning.
    pub messages: Vec<Arc<Message>>,
    /// Its beginning, which ends behind the last of them.
    pub text: Bytes,
    /// Bytes of that before the first of them.
    pub head: usize,
    /// Bytes of it behind that.
    pub rest: usize,
}

/// The beginning of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// What it says.
    pub text: Bytes,
    /// How many messages are in it.
    pub messages: usize,
    /// How many bytes stood behind it the last time: about as many as will now.
    pub rest: usize,
}

impl Draft {
    /// The beginning of a request that says `head` and then `messages` to this issuer; `None` when it was not written before.
    pub fn beginning(&self, issuer: &str, head: &[u8], messages: &[Arc<Message>]) -> Option<Beginning> {
        let written = self.written();
        let same = |it: &&Written| *it.issuer == *issuer && it.text.get(..it.head) == Some(head);
        let Written { messages: known, text, rest, .. } = written.as_ref().filter(same)?;
        let goes_on = known.len() <= messages.len() && known.iter().zip(messages).all(|(a, b)| Arc::ptr_eq(a, b));
        goes_on.then(|| Beginning { text: text.clone(), messages: known.len(), rest: *rest })
    }

    /// Keeps the beginning of a request for the next one.
    pub fn keep(&self, written: Written) {
        *self.written() = Some(written);
    }

    /// Nothing is left half done under this lock.
    fn written(&self) -> MutexGuard<'_, Option<Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Draft {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Part;

    /// What was written goes on only in a request that would say the very same.
    #[test]
    fn a_request_begins_as_the_one_before_only_where_all_of_that_is_the_same() {
        let said = |text: &str| Arc::new(Message::User(vec![Part::text(text)]));
        let (one, two, three) = (said("1"), said("2"), said("3"));
        let draft = Draft::default();
        assert_eq!(draft.beginning("a", b"[", &[]), None);
        let text = Bytes::from_static(b"[1,2");
        let messages = vec![one.clone(), two.clone()];
        draft.clone().keep(Written { issuer: "a".into(), messages, text: text.clone(), head: 1, rest: 7 });
        let known = Beginning { text, messages: 2, rest: 7 };
        let beginning = |issuer, head: &[u8], messages: &[&Arc<Message>]| {
            let messages: Vec<_> = messages.iter().map(|message| Arc::clone(message)).collect();
            draft.beginning(issuer, head, &messages)
        };
        assert_eq!(beginning("a", b"[", &[&one, &two, &three]), Some(known.clone()));
        assert_eq!(beginning("a", b"[", &[&one, &two]), Some(known));
        assert_eq!(beginning("b", b"[", &[&one, &two, &three]), None, "another issuer");
        for head in ["{", "", "[1"] {
            assert_eq!(beginning("a", head.as_bytes(), &[&one, &two, &three]), None, "another head");
        }
        assert_eq!(beginning("a", b"[", &[&one]), None, "it went back");
        assert_eq!(beginning("a", b"[", &[&one, &said("2")]), None, "another message, whatever it says");
    }
}
