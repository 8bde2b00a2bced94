//! Objects that a Rollout names: what is missing or does not fit. A rollout with such an error holds; it still sheds.

use super::{facts::Facts, observed::Slot, spec::SpecError};

/// The first object that is missing or not usable.
pub(super) fn first_error(facts: &Facts<'_>) -> Option<SpecError> {
    let canary = "spec.strategy.canary";
    let services = &facts.spec.services;
    let sides = [
        ("stableService", &services.stable, &facts.observed.stable_service),
        ("canaryService", &services.canary, &facts.observed.canary_service),
    ];
    for (field, name, service) in sides {
        let field = format!("{canary}.{field}");
        let Some(service) = service else {
            return Some(SpecError {
                field,
                message: format!(
                    "Invalid value: \"{name}\": service \"{name}\" not found; create it or name another one"
                ),
            });
        };
        if let Some(other) =
            service.managed_by.as_ref().filter(|other| **other != facts.observed.rollout.key.name)
        {
            return Some(SpecError {
                field,
                message: format!(
                    "Invalid value: \"{name}\": Service \"{name}\" is managed by another Rollout (`{other}`)"
                ),
            });
        }
    }
    let field = format!("{canary}.trafficRouting.istio.virtualService.name");
    match &facts.observed.virtual_service {
        None => {
            let name =
                facts.observed.rollout.traffic.as_ref().map(|traffic| traffic.virtual_service.to_string());
            let name = name.unwrap_or_default();
            return Some(SpecError {
                field,
                message: format!(
                    "Invalid value: \"{name}\": VirtualService not found; create it, or install Istio's CRDs"
                ),
            });
        }
        Some(service) => {
            if let Err(error) = &service.routes {
                return Some(error.clone());
            }
        }
    }
    let slots = facts.observed.analyses.iter().filter(|(slot, _)| match slot {
        Slot::Background => facts.spec.background.is_some(),
        Slot::Step(_) => true,
    });
    slots.filter_map(|(_, template)| template.as_ref().err()).next().cloned()
}
