//! Points at which a test can have the daemon killed.

/// Ends the process as `kill -9` would, if `XLAT_CRASH_AT` names this point. Not in release builds.
pub(crate) fn point(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var("XLAT_CRASH_AT").is_ok_and(|wanted| wanted == name) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
