#!/usr/bin/env python3
"""What no schema sees: that the names by which the deployment files speak of each other exist.

    references.py DOCKER

    references.py DOCKER --merged   prints the manifests of kubernetes-several as they lie over those of kubernetes

In the compose file: secrets, volumes, networks, dependencies, mounted files, stages of the Dockerfile, the one published port. In the
Kubernetes manifests: the kustomization's files, config maps, secrets that are described, volumes, ports of probes and services,
selectors, disruption budgets. Of both: a read-only root, no privileges, no rights to more.
"""

import pathlib
import re
import sys

import yaml

faults = []


def wanted(condition, fault):
    if not condition:
        faults.append(fault)


def compose(folder):
    file = yaml.safe_load((folder / "compose.yaml").read_text())
    services, stages = file["services"], re.findall(r"^FROM \S+ AS (\w+)$", (folder / "Dockerfile").read_text(), re.MULTILINE)
    published = []
    for name, service in services.items():
        for secret in service.get("secrets", []):
            known = secret["source"] if isinstance(secret, dict) else secret
            wanted(known in file["secrets"], f"{name}: secret {known}")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                wanted((folder / source).exists(), f"{name}: {source} is no file")
            elif not source.startswith("/"):
                wanted(source in file["volumes"], f"{name}: volume {source}")
        for other, how in service.get("depends_on", {}).items():
            wanted(other in services, f"{name}: depends on {other}")
            healthy = how["condition"] == "service_healthy"
            checked = "healthcheck" in services.get(other, {}) or "build" in services.get(other, {})
            wanted(not healthy or checked, f"{name}: {other} has no health check")
            wanted("profiles" not in services.get(other, {}) or "profiles" in service, f"{name}: {other} is in a profile")
        wanted(service["networks"] == ["lsie"], f"{name}: its network")
        wanted("restart" in service, f"{name}: no restart rule")
        wanted("healthcheck" in service or "build" in service, f"{name}: says nothing of its health")
        target = service.get("build", {}).get("target")
        wanted(target is None or target in stages, f"{name}: the Dockerfile has no stage {target}")
        if service["image"].startswith("lsie"):
            wanted(service["read_only"] and service["cap_drop"] == ["ALL"], f"{name}: more rights than it needs")
        used = re.findall(r"/run/secrets/(\w+)", str(service.get("environment", "")))
        given = [s["source"] if isinstance(s, dict) else s for s in service.get("secrets", [])]
        wanted(set(used) <= set(given), f"{name}: names secrets {sorted(set(used) - set(given))} without having them")
        published += [f"{name} {port}" for port in service.get("ports", [])]
    wanted(published == ["engine 127.0.0.1:8000:8000"], f"published are {published}")
    made = (folder / "secrets.sh").read_text()
    for secret in file["secrets"]:
        wanted(re.search(rf"\b{secret}\b", made), f"secrets.sh does not make {secret}")


def pods(document):
    spec = document["spec"]
    return spec["template"] if "template" in spec else None


def laid(base, over):
    """A strategic merge, as far as it is used here: lists of named things by name or port, null takes away."""
    if isinstance(base, dict) and isinstance(over, dict):
        merged = {key: laid(base[key], value) if key in base else value for key, value in over.items()}
        return {key: value for key, value in (base | merged).items() if value is not None}
    if isinstance(base, list) and base and all(isinstance(item, dict) and "name" in item for item in base + over):
        names = {item["name"]: item for item in base}
        for item in over:
            names[item["name"]] = laid(names.get(item["name"], {}), item)
        return list(names.values())
    return over


def merged(folder):
    """The base's documents with the patches of the overlay."""
    over, base = folder / "kubernetes-several", folder / "kubernetes"
    kustomization = yaml.safe_load((over / "kustomization.yaml").read_text())
    patches = [yaml.safe_load((over / patch["path"]).read_text()) for patch in kustomization["patches"]]
    wanted(len(patches) == len(list(over.glob("*.yaml"))) - 1, "kubernetes-several: a file that is no patch")
    documents = []
    for path in sorted(base.glob("*.yaml")):
        documents += [d for d in yaml.safe_load_all(path.read_text()) if d["kind"] != "Kustomization"]
    for patch in patches:
        same = [n for n, d in enumerate(documents) if (d["kind"], d["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"])]
        wanted(same, f"kubernetes-several: there is no {patch['kind']} {patch['metadata']['name']} to patch")
        for n in same:
            documents[n] = laid(documents[n], patch)
    hosts = (over / "hosts").read_text().split()
    engine = next(d for d in documents if d["kind"] == "StatefulSet")
    name, service = engine["metadata"]["name"], engine["spec"]["serviceName"]
    ports = [p["port"] for d in documents if d["metadata"]["name"] == service for p in d["spec"]["ports"]]
    expected = [f"{name}-{n}.{service}:2101" for n in range(engine["spec"]["replicas"])]
    wanted(hosts == expected and 2101 in ports, f"kubernetes-several: hosts are {hosts}, wanted {expected}")
    maps = {g["name"] for g in kustomization["configMapGenerator"]} | {"lsie"}
    used = [v["configMap"]["name"] for v in pods(engine)["spec"]["volumes"] if "configMap" in v]
    wanted(set(used) <= maps, f"kubernetes-several: config maps {used}")
    return documents


def kubernetes(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    wanted(set(kustomization["resources"]) == files, f"kustomization.yaml lists {kustomization['resources']}, there are {files}")
    maps = {}
    for generated in kustomization["configMapGenerator"]:
        maps[generated["name"]] = generated.get("files", [])
        for name in generated.get("files", []):
            wanted((folder / name).exists(), f"config map {generated['name']}: {name} is no file")
    documents = [d for name in sorted(files) for d in yaml.safe_load_all((folder / name).read_text())]
    workloads = [d for d in documents if pods(d)]
    described = (folder / "../../docs/DEPLOYING.md").resolve().read_text()
    services = {d["metadata"]["name"] for d in documents if d["kind"] == "Service"}
    for workload in workloads:
        name, pod = workload["metadata"]["name"], pods(workload)["spec"]
        labels = pods(workload)["metadata"]["labels"]
        selector = workload["spec"].get("selector", {}).get("matchLabels", labels)
        wanted(selector.items() <= labels.items(), f"{name}: its selector does not select its pods")
        wanted(workload["spec"].get("serviceName") in services | {None}, f"{name}: no such service")
        volumes = {v["name"] for v in pod.get("volumes", [])}
        volumes |= {c["metadata"]["name"] for c in workload["spec"].get("volumeClaimTemplates", [])}
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                wanted(volume["configMap"]["name"] in maps, f"{name}: config map {volume['configMap']['name']}")
            if "secret" in volume:
                secret = volume["secret"]["secretName"]
                wanted(f"`{secret}`" in described, f"{name}: docs/DEPLOYING.md says nothing of secret {secret}")
        wanted(pod["securityContext"]["runAsNonRoot"], f"{name}: may run as root")
        for container in pod["containers"] + pod.get("initContainers", []):
            mounts = {m["name"] for m in container.get("volumeMounts", [])}
            wanted(mounts <= volumes, f"{name}: mounts {mounts - volumes}, which are no volumes")
            ports = {p["name"] for p in container.get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container:
                    wanted(container[probe]["httpGet"]["port"] in ports, f"{name}: {probe} asks no port")
            for variable in container.get("env", []):
                source = variable.get("valueFrom", {}).get("secretKeyRef")
                wanted(not source or f"`{source['name']}`" in described, f"{name}: DEPLOYING.md says nothing of {source}")
            security = container["securityContext"]
            safe = security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
            wanted(safe and security["capabilities"]["drop"] == ["ALL"], f"{name}: more rights than it needs")
    for document in documents:
        selector = document["spec"].get("selector", {})
        labels = selector.get("matchLabels", selector) if document["kind"] in ("Service", "PodDisruptionBudget") else None
        selected = [w for w in workloads if labels and labels.items() <= pods(w)["metadata"]["labels"].items()]
        wanted(labels is None or selected, f"{document['kind']} {document['metadata']['name']} selects no pod")
        for port in document["spec"].get("ports", []) if document["kind"] == "Service" else []:
            names = {p["name"] for w in selected for c in pods(w)["spec"]["containers"] for p in c.get("ports", [])}
            wanted(port["targetPort"] in names, f"service {document['metadata']['name']}: no port {port['targetPort']}")


def main():
    folder = pathlib.Path(sys.argv[1])
    if sys.argv[2:] == ["--merged"]:
        print(yaml.safe_dump_all(merged(folder)))
        return
    merged(folder)
    compose(folder)
    kubernetes(folder / "kubernetes")
    if faults:
        raise SystemExit("references: " + "\n            ".join(faults))
    print("references: the deployment files agree")


if __name__ == "__main__":
    main()
