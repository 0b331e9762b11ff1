//! Who asks for a change.

use std::{
    collections::HashMap,
    fmt,
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use nix::unistd::{Uid, User};
use tokio::net::UnixStream;

/// How long a user's name is taken for granted: who makes many changes is looked for once.
const NAMED: Duration = Duration::from_secs(60);
/// The names of users that were found lately, by their numbers, and when.
static NAMES: LazyLock<Mutex<HashMap<u32, (Instant, String)>>> = LazyLock::new(Mutex::default);

/// The program at the other end of the control socket, as the kernel vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Author {
    /// `None`: the kernel does not say.
    pub(super) uid: Option<u32>,
    /// The user's name; empty: the number has none.
    pub(super) user: String,
    /// Process number, when there is one in this process's namespace.
    pub(super) pid: Option<i32>,
}

impl Author {
    /// The program that connected.
    pub(super) fn of(stream: &UnixStream) -> Self {
        let Ok(peer) = stream.peer_cred() else { return Self::default() };
        Self { uid: Some(peer.uid()), user: String::new(), pid: peer.pid() }
    }

    /// The daemon itself, where nobody says who asks: a signal, a start.
    pub(super) fn own() -> Self {
        let pid = i32::try_from(std::process::id()).ok();
        Self { uid: Some(Uid::current().as_raw()), user: String::new(), pid }
    }

    /// The same with the user's name, if that was found lately.
    pub(super) fn named_lately(&self) -> Option<Self> {
        let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, user) = names.get(&self.uid?)?;
        (found.elapsed() < NAMED).then(|| Self { user: user.clone(), ..*self })
    }

    /// The same with the user's name, which may take a while to find where users are kept on another machine.
    pub(super) fn named(self) -> Self {
        let Some(uid) = self.uid else { return self };
        let Some(User { name, .. }) = User::from_uid(Uid::from_raw(uid)).ok().flatten() else { return self };
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.retain(|_, (found, _)| found.elapsed() < NAMED);
        names.insert(uid, (Instant::now(), name.clone()));
        Self { user: name, ..self }
    }
}

impl fmt::Display for Author {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.uid, self.user.as_str()) {
            (None, _) => return formatter.write_str("an unknown user"),
            (Some(uid), "") => write!(formatter, "uid {uid}")?,
            (Some(_), user) => formatter.write_str(user)?,
        }
        self.pid.map_or(Ok(()), |pid| write!(formatter, ", pid {pid}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_found_is_that_of_every_process_of_the_user() {
        let found = Author::own().named();
        assert_ne!(found.user, "", "the user that runs tests has a name");
        let other = Author { pid: Some(1), ..Author::own() };
        assert_eq!(other.named_lately(), Some(Author { pid: Some(1), ..found }));
        assert_eq!(Author::default().named_lately(), None, "of an unknown user nothing is known");
    }
}
