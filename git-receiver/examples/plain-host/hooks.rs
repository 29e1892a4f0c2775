//! Runs a repository's hooks (githooks), with their output going to the client.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::repository::DiskRepository;

/// A hook to be run.
pub(crate) struct Hook<'a> {
    /// Such as `pre-receive`.
    pub(crate) name: &'a str,
    pub(crate) arguments: Vec<String>,
    /// What it reads from its standard input.
    pub(crate) input: String,
    /// Variables besides `GIT_DIR`.
    pub(crate) environment: Vec<(String, OsString)>,
}

impl Hook<'_> {
    /// Runs the hook to its end, telling what it prints as it goes; whether it agreed. One that is not there agrees, one
    /// that cannot be run does not.
    pub(crate) fn agrees(&self, repository: &DiskRepository, tell: &dyn Fn(&[u8])) -> bool {
        self.run(repository, tell).unwrap_or_else(|error| {
            tell(format!("error: cannot exec '{}': {error}\n", self.name).as_bytes());
            false
        })
    }

    fn run(&self, repository: &DiskRepository, tell: &dyn Fn(&[u8])) -> io::Result<bool> {
        let program = repository.settings.hooks.join(self.name);
        let runs =
            program.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
        if !runs {
            return Ok(true);
        }
        let (mut output, writer) = io::pipe()?;
        let mut command = Command::new(program);
        command
            .args(&self.arguments)
            .current_dir(&repository.git_dir)
            .env("GIT_DIR", ".")
            .env_remove("GIT_PUSH_OPTION_COUNT")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut child = command.spawn()?;
        // The command holds the pipe's other end, and would keep it from ever ending.
        drop(command);
        let input = child.stdin.take();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // A hook need not read what it is told.
                let _ = input.map(|mut input| input.write_all(self.input.as_bytes()));
            });
            let mut piece = [0; 4096];
            loop {
                match output.read(&mut piece)? {
                    0 => return Ok::<_, io::Error>(()),
                    length => tell(&piece[..length]),
                }
            }
        })?;
        Ok(child.wait()?.success())
    }
}
