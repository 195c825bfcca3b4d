//! The types, traits and aliases that a file defines or renames, including those within functions and excluding those of
//! its tests.

use syn::visit::Visit;
use syn::{Attribute, Item, ItemUse, UseRename, UseTree};

/// What a file calls types.
#[derive(Default)]
pub(crate) struct TypeNames {
    pub(crate) defined: Vec<String>,
    /// Names that `use … as` replaces, behind the first segment of their paths.
    pub(crate) replaced: Vec<(String, String)>,
    root: String,
}

pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for TypeNames {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = match item {
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Union(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            Item::Fn(item) => (&item.attrs, None),
            Item::Impl(item) => (&item.attrs, None),
            Item::Mod(item) => (&item.attrs, None),
            _ => return syn::visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            self.defined.extend(name.map(ToString::to_string));
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if let UseTree::Path(path) = &item.tree {
            self.root = path.ident.to_string();
            syn::visit::visit_item_use(self, item);
        }
    }

    fn visit_use_rename(&mut self, renamed: &'ast UseRename) {
        if renamed.rename != "_" && renamed.ident.to_string().starts_with(char::is_uppercase) {
            self.replaced.push((self.root.clone(), renamed.ident.to_string()));
        }
    }
}

impl TypeNames {
    pub(crate) fn of(text: &str) -> Self {
        let mut names = Self::default();
        names.visit_file(&syn::parse_file(text).expect("it compiles, so it can be read"));
        names
    }
}
