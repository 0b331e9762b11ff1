//! A headless Chromium on a machine of the lab, spoken with over its DevTools pipe.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    sync::mpsc::{Receiver, channel},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::namespace::{Namespace, Running};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one page; it is killed when this is dropped.
pub struct Browser {
    _process: Running,
    directory: TempDir,
    commands: File,
    answers: Receiver<Value>,
    session: Option<String>,
    last: u64,
    /// Faults that the page has reported: exceptions, and what its policy has refused.
    faults: Vec<String>,
}

impl Browser {
    /// Starts it with an empty page.
    ///
    /// # Errors
    /// Without Chromium: what it said.
    pub fn start(machine: &Namespace) -> Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for the browser")?;
        let path = |name: &str| directory.path().join(name);
        let pipe = |name: &str| -> Result<File> {
            mkfifo(&path(name), Mode::S_IRWXU)?;
            // Both ways, so that opening it does not wait for the browser.
            Ok(File::options().read(true).write(true).open(path(name))?)
        };
        let (commands, answers) = (pipe("commands")?, pipe("answers")?);
        let script = format!(
            "exec chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --user-data-dir='{0}/profile' \
             --remote-debugging-pipe about:blank 3<'{0}/commands' 4>'{0}/answers'",
            directory.path().display()
        );
        let process = machine.start("sh", &["-c", &script], &path("log"))?;
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for answer in BufReader::new(answers).split(0).map_while(Result::ok) {
                let Ok(answer) = serde_json::from_slice(&answer) else { continue };
                if sender.send(answer).is_err() {
                    return;
                }
            }
        });
        let mut this = Self {
            _process: process,
            directory,
            commands,
            answers: receiver,
            session: None,
            last: 0,
            faults: Vec::new(),
        };
        let target = this.call("Target.createTarget", json!({"url": "about:blank"}))?["targetId"].clone();
        let attached = this.call("Target.attachToTarget", json!({"targetId": target, "flatten": true}))?;
        this.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            this.call(&format!("{domain}.enable"), json!({}))?;
        }
        // Without a window it would not have the keyboard.
        this.call("Emulation.setFocusEmulationEnabled", json!({"enabled": true}))?;
        Ok(this)
    }

    /// One command of the DevTools protocol.
    ///
    /// # Errors
    /// It is refused, or not answered in time.
    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value> {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = session.as_str().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes())?;
        let begin = Instant::now();
        while let Ok(answer) = self.answers.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())) {
            if answer["id"] == self.last {
                let failed = answer.get("error").map(Value::to_string);
                return failed.map_or_else(|| Ok(answer["result"].clone()), |error| bail!("{method}: {error}"));
            }
            self.note(&answer);
        }
        bail!(
            "{method} is not answered:\n{}",
            fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
        )
    }

    fn note(&mut self, event: &Value) {
        let entry = &event["params"]["entry"];
        if event["method"] == "Runtime.exceptionThrown"
            || (event["method"] == "Log.entryAdded" && entry["level"] == "error")
        {
            self.faults.push(event["params"].to_string());
        }
    }

    /// What a JavaScript expression gives on the page.
    ///
    /// # Errors
    /// It throws.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let answer = self
            .call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true, "awaitPromise": true}))?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("`{expression}` throws: {thrown}");
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true on the page.
    ///
    /// # Errors
    /// It does not become so in time: the text of the page.
    pub fn wait_for(&mut self, expression: &str) -> Result<()> {
        let begin = Instant::now();
        // It may throw as long as the page is not there.
        while !self.evaluate(expression).is_ok_and(|value| value == true) {
            if begin.elapsed() > PATIENCE {
                bail!("`{expression}` does not become true on:\n{}", self.evaluate("document.body.innerText")?);
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Presses a key that has a name, such as `Tab`.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn press(&mut self, key: &str) -> Result<()> {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            _ => bail!("no such key is known here: {key}"),
        };
        let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
        for kind in [down, "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" {
                event["text"] = text.into();
            }
            self.call("Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    /// Writes what the page looks like to a PNG file.
    ///
    /// # Errors
    /// As [`Self::call`], or the file cannot be written.
    pub fn screenshot(&mut self, file: &Path) -> Result<()> {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true}))?;
        let image = BASE64_STANDARD.decode(answer["data"].as_str().unwrap_or_default()).context("the picture")?;
        fs::write(file, image).with_context(|| format!("writing {}", file.display()))
    }

    /// The faults that the page has reported so far.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }
}
