//! Explaining a packet: by the owner, as nobody else may run the program.

use std::sync::Arc;

use super::{Refusal, refusal, relay::Relay};
use crate::{
    api::{Code, Explained},
    daemon::explain::{self, Subject},
    dataplane::DataPlane,
};

impl Relay {
    pub(super) fn explain(&mut self, packet: &[u8], interface: Option<&str>) -> Result<Box<Explained>, Refusal> {
        if !DataPlane::can_be_tried() {
            let text = "explain: the program is run on a packet that nobody has sent, which takes Linux 5.15 or newer";
            return Err(refusal(Code::Failed, text));
        }
        let machine = Arc::clone(&self.machine.borrow());
        let attached = self.links.iter().filter(|(_, link)| link.outcome.is_ok()).map(|(ifindex, _)| *ifindex);
        let subject =
            Subject { config: &self.config, table: &self.table, machine: &machine, attached: attached.collect() };
        explain::explain(&subject, &mut self.dataplane, packet, interface)
            .map(Box::new)
            .map_err(|(code, text)| refusal(code, format!("explain: {text}")))
    }
}
