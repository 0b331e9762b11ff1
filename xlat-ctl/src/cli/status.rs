//! `xlat-ctl status`

use super::{
    Common, Failed, client,
    output::{Align, duration, size, table},
};
use crate::api::{Attachment, InterfaceStatus, State, Status};

pub(super) fn status(common: &Common) -> Result<(), Failed> {
    let answer = client::get::<Status>(common, "/v1/status")?;
    answer.print(common, human);
    match answer.value.state {
        State::Attached => Ok(()),
        State::Degraded => Err("the program is not attached to every configured interface".to_owned().into()),
        State::Detached => Err("the program is attached to no interface: nothing is translated".to_owned().into()),
    }
}

fn human(status: &Status) -> String {
    let Status { program, table: eams, .. } = status;
    let state = match status.state {
        State::Attached => "attached",
        State::Degraded => "degraded",
        State::Detached => "detached",
    };
    let mut text = String::new();
    for (name, value) in [
        ("state", state.to_owned()),
        ("daemon", format!("xlat {}, pid {}, up {}", status.version, status.pid, duration(status.uptime_seconds))),
        ("config", status.config.clone()),
        (
            "program",
            format!(
                "{}, id {}, tag {}, {} of machine code",
                program.name,
                program.id,
                program.tag,
                size(program.jited_bytes)
            ),
        ),
        (
            "table",
            format!(
                "{} of {} entries ({} static, {} dynamic), {}",
                eams.entries,
                eams.max_entries,
                eams.static_entries,
                eams.dynamic_entries,
                size(eams.bytes)
            ),
        ),
    ] {
        text.push_str(&format!("{name:<8}  {value}\n"));
    }
    text.push('\n');
    let columns = [("INTERFACE", Align::Left), ("STATE", Align::Left), ("XDP", Align::Left), ("", Align::Left)];
    text.push_str(&table(&columns, &status.interfaces.iter().map(row).collect::<Vec<_>>()));
    text
}

fn row(interface: &InterfaceStatus) -> Vec<String> {
    let state = match interface.state {
        Attachment::Attached => "attached",
        Attachment::Waiting => "waiting",
        Attachment::Failed => "failed",
        Attachment::Covered => "covered",
    };
    vec![
        interface.name.clone(),
        state.to_owned(),
        interface.mode.clone().unwrap_or_else(|| "-".to_owned()),
        interface.detail.clone().unwrap_or_default(),
    ]
}
