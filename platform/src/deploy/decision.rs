//! The decisions about the refs of a push.

use std::collections::BTreeMap;

use manifest_schema::label::branch_label;
use manifest_schema::name::AppName;
use store::{DeployNumber, RefChange};

use super::candidate::{Candidate, Examined};
use super::domains::PendingDomain;
use super::report::{Activated, Event, EventSender, Outcome, RefReport, Rejection};
use crate::nodes::Propagation;

/// One ref of a push, and the decision about it.
pub(super) struct Decision {
    pub(super) change: RefChange,
    pub(super) action: Action,
}

pub(super) enum Action {
    /// Update the ref and serve the commit on the branch.
    Serve { branch: String, production: bool, candidate: Box<Candidate> },
    /// Update the ref and serve nothing.
    Update,
    /// Update nothing.
    Finished(Outcome),
}

impl Decision {
    /// Whether the ref is updated.
    pub(super) fn updates_ref(&self) -> bool {
        !matches!(self.action, Action::Finished(_))
    }

    /// The preview branch that the commit is served on.
    pub(super) fn preview(&self) -> Option<&str> {
        match &self.action {
            Action::Serve { branch, production: false, .. } => Some(branch),
            _ => None,
        }
    }

    /// The branch that is deleted.
    pub(super) fn deleted_branch(&self) -> Option<&str> {
        let deletes = self.updates_ref() && self.change.new.is_none();
        self.change.name.strip_prefix("refs/heads/").filter(|_| deletes)
    }

    /// Whether the commit is served in production.
    pub(super) fn goes_live(&self) -> bool {
        matches!(self.action, Action::Serve { production: true, .. })
    }

    fn is_rejected(&self) -> bool {
        matches!(self.action, Action::Finished(Outcome::Rejected(_)))
    }

    pub(super) fn reject(&mut self, rejection: Rejection) {
        self.action = Action::Finished(Outcome::Rejected(rejection));
    }
}

/// The action for an examined commit.
pub(super) fn action_for(
    examined: Examined,
    branch: String,
    production: bool,
    events: &EventSender,
) -> Action {
    match examined {
        Examined::Candidate(candidate) => Action::Serve { branch, production, candidate },
        Examined::Rejected(rejection) => Action::Finished(Outcome::Rejected(rejection)),
        Examined::NoManifest => {
            events.send(Event::NoManifest { branch });
            Action::Update
        }
    }
}

/// Rejects the later of two new branches of one push that share an address.
pub(super) fn reject_address_conflicts(app: &AppName, decisions: &mut [Decision]) {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for decision in decisions {
        if let Action::Serve { branch, .. } = &decision.action {
            let label = branch_label(app, branch);
            match labels.get(&label) {
                Some(with) => {
                    let with = with.clone();
                    decision.reject(Rejection::AddressConflict { with });
                }
                None => {
                    labels.insert(label, branch.clone());
                }
            }
        }
    }
}

/// Rejects all refs of an atomic push if one is rejected.
pub(super) fn apply_atomicity(decisions: &mut [Decision]) {
    if decisions.iter().any(Decision::is_rejected) {
        reject_matching(decisions, |decision| !decision.is_rejected(), &Rejection::Atomic);
    }
}

/// Rejects the decisions selected by `filter`, all for the same reason.
pub(super) fn reject_matching(
    decisions: &mut [Decision],
    filter: impl Fn(&Decision) -> bool,
    rejection: &Rejection,
) {
    for decision in decisions.iter_mut().filter(|decision| filter(decision)) {
        decision.reject(rejection.clone());
    }
}

/// A ref that was updated, and whose commit is served.
pub(super) struct Served {
    pub(super) change: RefChange,
    pub(super) branch: String,
    pub(super) production: bool,
    pub(super) deploy: DeployNumber,
    pub(super) previously_validated: bool,
    pub(super) keeps_state: bool,
    pub(super) stopped: bool,
    pub(super) pending: Vec<PendingDomain>,
}

/// The result of a decision after the commit.
pub(super) enum Committed {
    Served(Served),
    /// Nothing is served for the ref.
    Unserved(RefReport),
}

impl Committed {
    pub(super) fn is_served(&self) -> bool {
        matches!(self, Self::Served(_))
    }

    pub(super) fn goes_live(&self) -> bool {
        matches!(self, Self::Served(Served { production: true, .. }))
    }

    /// The report on the ref; `propagation` is the state of the other nodes.
    pub(super) fn into_report(self, propagation: Option<Propagation>) -> RefReport {
        let served = match self {
            Self::Served(served) => served,
            Self::Unserved(report) => return report,
        };
        let Served { change, branch, production, .. } = served;
        let previous = change.old.filter(|old| Some(*old) != change.new);
        let activated = Activated {
            branch,
            deploy: served.deploy,
            previously_validated: served.previously_validated,
            keeps_state: served.keeps_state,
            previous,
            propagation,
            stopped: served.stopped,
            pending: served.pending,
        };
        let outcome = if production { Outcome::Live(activated) } else { Outcome::Preview(activated) };
        RefReport { name: change.name, outcome }
    }
}

/// The report on a ref that nothing is served for.
pub(super) fn unserved_report(decision: Decision) -> RefReport {
    let outcome = match decision.action {
        Action::Finished(outcome) => outcome,
        _ if decision.change.new.is_none() => Outcome::Deleted,
        _ => Outcome::Stored,
    };
    RefReport { name: decision.change.name, outcome }
}
