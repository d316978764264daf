"""Everything a store holds, as plain data: to keep beside a store, and to compare with later."""

import base64

FIELDS = ("type", "uid", "gid", "mode", "description", "created")


def describe(store):
    """Each path with its policy, its versions and their values; and what was removed."""
    nodes = {}
    for entry in store.json("ls", "-R"):
        path = entry["path"]
        shown = store.json("show", path)
        nodes[path] = {field: shown.get(field) for field in FIELDS}
        nodes[path]["acl"] = acl(store, path)
        if entry["type"] == "secret":
            nodes[path]["version"] = shown["version"]
            nodes[path]["versions"] = {
                str(version["version"]): {
                    "created": version["created"],
                    "label": version["label"],
                    "value": value(store, path, version["version"]),
                }
                for version in store.json("versions", path)
            }
    return {"nodes": nodes, "deleted": [entry["path"] for entry in store.json("ls", "--deleted")]}


def acl(store, path):
    """The entries without the names that this machine has for their ids."""
    (shown,) = store.json("getfacl", path)
    return [[entry["tag"], entry["id"], entry["perm"]] for entry in shown["acl_entries"]]


def value(store, path, number):
    return base64.b64encode(store.get(path, "--version", number)).decode()
