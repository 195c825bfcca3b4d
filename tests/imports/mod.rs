//! Which files of the crate use items of which others: `use` declarations and paths in the code, followed through
//! re-exports to the file that defines the item.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;
use syn::{Item, ItemUse, UseTree, Visibility};

use crate::types::is_for_tests;

/// The path of a module, from the crate's root.
type Module = Vec<String>;

/// Where a name that a module re-exports comes from; `*` has several.
type Exports = BTreeMap<Module, Vec<(String, Vec<String>)>>;

/// The imports between files.
#[derive(Debug)]
pub(crate) struct Imports {
    edges: BTreeMap<Module, BTreeSet<Module>>,
}

/// What one file says.
struct Reader<'a> {
    module: Module,
    modules: &'a BTreeSet<Module>,
    imports: Vec<Vec<String>>,
    exports: Vec<(String, Vec<String>)>,
}

fn module_of(path: &str) -> Module {
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { Module::new() } else { path.split('/').map(str::to_owned).collect() }
}

impl Reader<'_> {
    /// The path from the crate's root, if it begins in this crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?;
        let rest = || path.iter().skip(1).cloned();
        match first.as_str() {
            "crate" => Some(rest().collect()),
            "self" => Some(self.module.iter().cloned().chain(rest()).collect()),
            "super" => {
                let supers = path.iter().take_while(|segment| *segment == "super").count();
                let kept = self.module.len().checked_sub(supers)?;
                let outer = self.module.iter().take(kept);
                Some(outer.chain(path.iter().skip(supers)).cloned().collect())
            }
            _ => {
                let child: Module = self.module.iter().cloned().chain([first.clone()]).collect();
                self.modules.contains(&child).then(|| self.module.iter().chain(path).cloned().collect())
            }
        }
    }

    fn leaves(&self, tree: &UseTree, before: &[String], found: &mut Vec<(String, Vec<String>)>) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => self.leaves(&path.tree, &with(path.ident.to_string()), found),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.leaves(tree, before, found)),
            UseTree::Glob(_) => found.push(("*".into(), before.to_vec())),
            UseTree::Name(name) if name.ident == "self" => {
                found.extend(before.last().map(|last| (last.clone(), before.to_vec())));
            }
            UseTree::Name(name) => found.push((name.ident.to_string(), with(name.ident.to_string()))),
            UseTree::Rename(renamed) => {
                found.push((renamed.rename.to_string(), with(renamed.ident.to_string())));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut found = Vec::new();
        self.leaves(&item.tree, &[], &mut found);
        for (name, path) in found {
            if let Some(path) = self.absolute(&path) {
                match item.vis {
                    Visibility::Inherited => self.imports.push(path),
                    Visibility::Public(_) | Visibility::Restricted(_) => self.exports.push((name, path)),
                }
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.imports.extend(self.absolute(&segments));
        }
        syn::visit::visit_path(self, path);
    }
}

/// The module that defines what `path` names.
fn definer(path: &[String], modules: &BTreeSet<Module>, exports: &Exports, depth: usize) -> Option<Module> {
    let depth = depth.checked_sub(1)?;
    let mut at = Module::new();
    for (index, segment) in path.iter().enumerate() {
        let child: Module = at.iter().cloned().chain([segment.clone()]).collect();
        if modules.contains(&child) {
            at = child;
            continue;
        }
        for (name, target) in exports.get(&at).into_iter().flatten() {
            let rest = path.get(index + 1..)?.iter().cloned();
            if name == segment {
                let path: Vec<String> = target.iter().cloned().chain(rest).collect();
                return definer(&path, modules, exports, depth);
            }
        }
        break;
    }
    Some(at)
}

impl Imports {
    /// Reads them from the files below `src/`: paths and texts.
    pub(crate) fn read<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let files: BTreeMap<Module, &str> = files
            .filter(|(path, _)| *path != "main.rs")
            .map(|(path, text)| (module_of(path), text))
            .collect();
        let modules: BTreeSet<Module> = files.keys().cloned().collect();
        let mut exports = Exports::new();
        let mut imports = BTreeMap::new();
        for (module, text) in &files {
            let parsed = syn::parse_file(text).expect("it compiles, so it can be read");
            let mut reader = Reader {
                module: module.clone(),
                modules: &modules,
                imports: Vec::new(),
                exports: Vec::new(),
            };
            reader.visit_file(&parsed);
            exports.insert(module.clone(), reader.exports);
            imports.insert(module.clone(), reader.imports);
        }
        let mut edges = BTreeMap::new();
        for (module, paths) in imports {
            let defined = paths.iter().filter_map(|path| definer(path, &modules, &exports, 20));
            let others: BTreeSet<Module> = defined.filter(|other| *other != module).collect();
            edges.insert(module, others);
        }
        Self { edges }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.edges.values().map(BTreeSet::len).sum()
    }

    fn reached_from(&self, start: &Module) -> BTreeSet<&Module> {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Module> = self.edges.get(start).into_iter().flatten().collect();
        while let Some(module) = next.pop() {
            if seen.insert(module) {
                next.extend(self.edges.get(module).into_iter().flatten());
            }
        }
        seen
    }

    /// Sets of files each of which reaches all others of its set.
    pub(crate) fn circles(&self) -> BTreeSet<Vec<String>> {
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            self.edges.keys().map(|module| (module, self.reached_from(module))).collect();
        let mut found = BTreeSet::new();
        for (module, others) in &reached {
            if others.contains(module) {
                let circle =
                    others.iter().filter(|other| reached.get(*other).is_some_and(|r| r.contains(module)));
                found.insert(circle.map(|module| module.join("/")).collect());
            }
        }
        found
    }
}
