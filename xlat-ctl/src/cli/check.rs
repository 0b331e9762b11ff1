//! `xlat-ctl check`

use std::path::Path;

use serde::Serialize;

use super::{
    Failed,
    output::{self, count},
};
use crate::config::{self, Checked, ConfigError, Problem};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    valid: bool,
    errors: Vec<Remark>,
    warnings: Vec<Remark>,
}

#[derive(Serialize)]
struct Remark {
    line: Option<usize>,
    message: String,
}

impl From<&Problem> for Remark {
    fn from(problem: &Problem) -> Self {
        Self { line: problem.line, message: problem.text.clone() }
    }
}

pub(super) fn check(path: &Path, json: bool) -> Result<(), Failed> {
    match config::load(path) {
        Ok(checked) => {
            let Checked { config, warnings, .. } = &checked;
            for warning in warnings {
                output::complain(&format!("warning: {}", config::place(path, warning)));
            }
            if json {
                let warnings = warnings.iter().map(Remark::from).collect();
                output::print(&output::json(&Report { valid: true, errors: Vec::new(), warnings }));
            } else {
                output::print(&format!(
                    "{} is valid: {}, {}, {}\n",
                    path.display(),
                    count(config.dataplane.interfaces.len(), "interface name or glob", "interface names or globs"),
                    count(config.translation.prefixes.len(), "translation prefix", "translation prefixes"),
                    count(config.eams.len(), "EAM", "EAMs"),
                ));
            }
            Ok(())
        }
        Err(error) => {
            let errors = match &error {
                ConfigError::Invalid { problems, .. } => problems.iter().map(Remark::from).collect(),
                ConfigError::Read { .. } => vec![Remark { line: None, message: error.to_string() }],
            };
            let answer = Some(output::json(&Report { valid: false, errors, warnings: Vec::new() }));
            Err(Failed { message: Some(error.to_string().replace('\n', "\nxlat-ctl: ")), answer })
        }
    }
}
