//! Watches folders for changes, with debouncing: a save often consists of several steps on disk.
//!
//! Each folder has its own watch, so that excluded folders (`.git`, `target`, `node_modules`) need none. If the system has no
//! more watches, the folder is polled instead.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Config, ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

/// The debounce interval.
const DEBOUNCE: Duration = Duration::from_millis(4);

/// The maximum time to wait for the end of a series of changes.
const DEBOUNCE_MAX: Duration = Duration::from_millis(250);

/// The polling interval for folders that cannot be watched or do not exist.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// A change in a watched folder.
enum Change {
    /// A file or folder changed.
    Modified,
    /// A file or folder was removed or renamed.
    Removed(PathBuf),
}

/// The watched folders.
pub(super) struct Watch {
    watcher: Result<RecommendedWatcher, notify::Error>,
    watched: BTreeSet<PathBuf>,
    changes: Receiver<Change>,
    /// Keeps the channel open without a watcher.
    _sender: Sender<Change>,
    /// Why folders are polled.
    error: Option<notify::Error>,
}

impl Watch {
    /// Creates an empty watch.
    pub(super) fn new() -> Self {
        let (sender, changes) = channel();
        let watcher_sender = sender.clone();
        let watcher =
            RecommendedWatcher::new(move |event| forward(event, &watcher_sender), Config::default());
        Self { watcher, watched: BTreeSet::new(), changes, _sender: sender, error: None }
    }

    /// Watches only these folders. Returns whether one of them is new: changes in it were not reported so far.
    pub(super) fn set_folders(&mut self, folders: &[PathBuf]) -> bool {
        let requested: BTreeSet<PathBuf> = folders.iter().cloned().collect();
        let watcher = match &mut self.watcher {
            Ok(watcher) => watcher,
            Err(error) => {
                self.error = Some(match error.kind {
                    ErrorKind::MaxFilesWatch => notify::Error::new(ErrorKind::MaxFilesWatch),
                    _ => notify::Error::generic(&error.to_string()),
                });
                return false;
            }
        };
        for gone in self.watched.difference(&requested) {
            // The watch of a removed folder is already gone.
            let _ = watcher.unwatch(gone);
        }
        self.watched.retain(|folder| requested.contains(folder));
        self.error = None;
        let mut new = false;
        for folder in requested.difference(&self.watched.clone()) {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(folder.clone());
                    new = true;
                }
                // The folder was removed meanwhile, which the watch of its parent reports.
                Err(error) if is_absent(&error) => {}
                Err(error) => self.error = Some(error),
            }
        }
        new
    }

    /// Removes all watches.
    pub(super) fn clear(&mut self) {
        self.set_folders(&[]);
    }

    /// Why folders are polled instead of watched.
    pub(super) fn error(&self) -> Option<&notify::Error> {
        self.error.as_ref()
    }

    /// Waits for a change and its debouncing, or for the next poll. Returns the time of the last change.
    pub(super) fn wait(&mut self) -> Instant {
        let first = if self.error.is_some() || self.watched.is_empty() {
            self.changes.recv_timeout(POLL_INTERVAL)
        } else {
            self.changes.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        let Ok(first) = first else { return Instant::now() };
        self.handle(first);
        let (began, mut last) = (Instant::now(), Instant::now());
        while began.elapsed() < DEBOUNCE_MAX {
            match self.changes.recv_timeout(DEBOUNCE) {
                Ok(change) => self.handle(change),
                Err(_) => break,
            }
            last = Instant::now();
        }
        last
    }

    /// Whether there is no change within `time`.
    pub(super) fn is_quiet_for(&mut self, time: Duration) -> bool {
        match self.changes.recv_timeout(time) {
            Ok(change) => {
                self.handle(change);
                false
            }
            Err(_) => true,
        }
    }

    /// Removes the watch of a removed folder, so that a new folder of the same name gets its own.
    fn handle(&mut self, change: Change) {
        if let Change::Removed(path) = change
            && self.watched.remove(&path)
            && let Ok(watcher) = &mut self.watcher
        {
            let _ = watcher.unwatch(&path);
        }
    }
}

fn is_absent(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Forwards changes. Read accesses are ignored.
fn forward(event: notify::Result<Event>, sender: &Sender<Change>) {
    let send = |change| drop(sender.send(change));
    match event {
        Ok(Event { kind: EventKind::Access(access), .. })
            if access != AccessKind::Close(AccessMode::Write) => {}
        Ok(Event { kind: EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)), paths, .. }) => {
            paths.into_iter().for_each(|path| send(Change::Removed(path)));
            send(Change::Modified);
        }
        // An error can mean lost events.
        Ok(_) | Err(_) => send(Change::Modified),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn change_is_reported_after_debouncing_and_reads_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new();
        assert!(
            watch.set_folders(&[folder.path().to_owned()]) && !watch.set_folders(&[folder.path().to_owned()])
        );
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        watch.wait();
        // A slow machine can report the last step of a save late.
        while !watch.is_quiet_for(Duration::from_millis(50)) {}
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        assert!(watch.is_quiet_for(Duration::from_millis(50)), "a read is not a change");
    }

    #[test]
    fn removed_folder_is_watched_again_when_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let both = [folder.path().to_owned(), inner.clone()];
        let mut watch = Watch::new();
        watch.set_folders(&both);
        assert!(watch.error().is_none(), "a missing folder is not an error");
        for _ in 0..2 {
            fs::create_dir(&inner).unwrap();
            watch.wait();
            assert!(watch.set_folders(&both));
            fs::remove_dir(&inner).unwrap();
            while watch.watched.contains(&inner) {
                watch.wait();
            }
        }
    }

    #[test]
    fn folder_without_watch_is_polled() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new();
        watch.watcher = Err(notify::Error::new(ErrorKind::MaxFilesWatch));
        assert!(!watch.set_folders(&[folder.path().to_owned()]));
        assert!(matches!(watch.error().map(|error| &error.kind), Some(ErrorKind::MaxFilesWatch)));
        let began = Instant::now();
        watch.wait();
        assert!(began.elapsed() >= POLL_INTERVAL);
    }
}
