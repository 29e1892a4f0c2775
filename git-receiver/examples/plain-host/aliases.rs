//! Symbolic refs in a push: one whose target is pushed too moves with it, if both are to go the same way.

use git_receiver::Command;

use crate::order::{Course, Order};
use crate::repository::DiskRepository;

/// Lets the commands for symbolic refs follow those for their targets, and refuses both where they differ.
pub(crate) fn judge(repository: &DiskRepository, orders: &mut [Order], tell: &dyn Fn(&[u8])) {
    for index in 0..orders.len() {
        let Order { command: alias, refused: None, .. } = &orders[index] else { continue };
        let Some(target) = repository.symbolic_target(&alias.name) else { continue };
        let Some(of_target) = orders.iter().position(|order| order.command.name == target) else { continue };
        let other = &orders[of_target].command;
        if (alias.old, alias.new) == (other.old, other.new) {
            orders[index].course = Course::Follow(of_target);
            continue;
        }
        let (alias, target) = (way(alias), way(other));
        let error =
            format!("error: refusing inconsistent update between symref {alias} and its target {target}\n");
        tell(error.as_bytes());
        for order in [index, of_target] {
            orders[order].refused = Some("inconsistent aliased update".to_owned());
        }
    }
}

/// Refuses the commands whose target's was refused.
pub(crate) fn follow(orders: &mut [Order]) {
    for index in 0..orders.len() {
        if let Course::Follow(target) = orders[index].course {
            orders[index].refused = orders[target].refused.clone();
        }
    }
}

/// A ref and the way it is to go, in short.
fn way(command: &Command) -> String {
    let short = |id: &Option<git_receiver::ObjectId>| {
        id.map_or_else(|| "0".repeat(7), |id| id.to_hex_with_len(7).to_string())
    };
    format!("'{}' ({}..{})", command.name, short(&command.old), short(&command.new))
}
