//! The types of functions that take a predicate.

use super::{
    super::{
        builtin::Builtin,
        error::{self, Error},
        tree::{NodeId, Pointer},
        types::{Keyed, Type},
    },
    Checker, Scope, Typed,
};

impl Checker<'_> {
    pub(super) fn with_predicate(&mut self, function: Builtin, arguments: &[NodeId]) -> Typed {
        let Some((&list, rest)) = arguments.split_first() else {
            return Ok(Type::Unknown);
        };
        let collection = self.visit(list)?;
        if !collection.is_list() && !collection.is_unknown() {
            let message = format!("builtin {} takes only array (got {})", function.name(), collection.name());
            return Err(self.only_lists(self.fail(list, message), &collection));
        }
        let Some(&predicate) = rest.first() else {
            return Ok(match function {
                Builtin::Count => Type::Int,
                _ if collection.is_unknown() => Type::Unknown,
                _ => collection.element(),
            });
        };
        self.scopes.push(Scope {
            collection: collection.clone(),
            index: matches!(function, Builtin::Map | Builtin::Reduce),
            accumulator: function == Builtin::Reduce,
        });
        let yields = self.visit(predicate);
        self.scopes.pop();
        let yields = yields?;
        if let Some(&third) = rest.get(1) {
            self.third(function, third)?;
        }
        if yields == Type::Nil {
            let inputs = if function == Builtin::Reduce { "two" } else { "one" };
            let message = format!("predicate should has {inputs} input and one output param");
            return Err(self.fail(predicate, message));
        }
        self.yields_bool(function, predicate, &yields)?;
        Ok(outcome(function, collection, yields))
    }

    fn only_lists(&self, error: Error, collection: &Type) -> Error {
        match collection {
            Type::Nil => error.hint(error::NOTHING),
            Type::Map(_) => error.hint("`values(..)` makes a list of an object"),
            kind if kind.is_number() => error.hint("this is one number: compare it without a function"),
            _ => error,
        }
    }

    fn third(&mut self, function: Builtin, argument: NodeId) -> Result<(), Error> {
        let kind = self.visit(argument)?;
        if function == Builtin::SortBy && kind != Type::Text && !kind.is_unknown() {
            let message = format!("sortBy order argument must be a string (got {})", kind.name());
            return Err(self.fail(argument, message));
        }
        Ok(())
    }

    fn yields_bool(&self, function: Builtin, predicate: NodeId, yields: &Type) -> Result<(), Error> {
        let free = matches!(
            function,
            Builtin::Map | Builtin::Sum | Builtin::GroupBy | Builtin::SortBy | Builtin::Reduce
        );
        if free || *yields == Type::Bool || yields.is_unknown() {
            return Ok(());
        }
        let message = format!("predicate should return boolean (got {})", yields.name());
        Err(self.fail(predicate, message).hint("a predicate asks something of `#`, the element: `# > 1`"))
    }

    pub(super) fn pointer(&self, id: NodeId, pointer: Pointer) -> Typed {
        let Some(scope) = self.scopes.last() else {
            return Err(self.fail(id, "cannot use pointer accessor outside predicate"));
        };
        match pointer {
            Pointer::Element if scope.collection.is_unknown() => Ok(Type::Unknown),
            Pointer::Element => Ok(scope.collection.element()),
            Pointer::Index if scope.index => Ok(Type::Int),
            Pointer::Accumulator if scope.accumulator => Ok(Type::Unknown),
            Pointer::Index => Err(self.unknown_pointer(id, "index")),
            Pointer::Accumulator => Err(self.unknown_pointer(id, "acc")),
        }
    }

    pub(super) fn unknown_pointer(&self, id: NodeId, name: &str) -> Error {
        self.fail(id, format!("unknown pointer #{name}"))
            .hint("`#` is the element; `#index` is known in map and reduce, `#acc` in reduce")
    }
}

fn outcome(function: Builtin, collection: Type, yields: Type) -> Type {
    match function {
        Builtin::Filter if collection.is_unknown() => Type::LIST,
        Builtin::Filter => Type::list_of(collection.element()),
        Builtin::Map => Type::list_of(yields),
        Builtin::Count | Builtin::FindIndex | Builtin::FindLastIndex => Type::Int,
        Builtin::Sum => yields.plain(),
        Builtin::Find | Builtin::FindLast if collection.is_unknown() => Type::Unknown,
        Builtin::Find | Builtin::FindLast => collection.element(),
        Builtin::GroupBy => Type::Map(Keyed::Groups),
        Builtin::SortBy => collection,
        Builtin::Reduce => yields,
        _ => Type::Bool,
    }
}
