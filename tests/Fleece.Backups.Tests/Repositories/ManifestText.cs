// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Backups.Repositories;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>Changes manifests as a text editor would, with a new seal or without.</summary>
internal static class ManifestText
{
    private const string SealLine = "\n  \"seal\": \"";

    /// <summary>Fields that manifests of the first version do not have.</summary>
    private static readonly string[] NewFields = ["source", "isShared", "parentContentDigest", "contentDigest", "hasMerged", "seal"];

    public static string PathOf(BackupPoint point) => Path.ChangeExtension(point.Path, ".json");

    /// <summary>Changes the JSON and leaves the seal as it is.</summary>
    public static void Edit(string path, Action<JsonObject> edit)
    {
        JsonObject json = JsonNode.Parse(File.ReadAllBytes(path))!.AsObject();
        edit(json);
        File.WriteAllText(path, Indent(json) + "\n");
    }

    /// <summary>Changes the JSON and seals it anew.</summary>
    public static void EditAndSeal(string path, Action<JsonObject> edit)
    {
        Edit(path, edit);
        File.WriteAllBytes(path, Seal(File.ReadAllBytes(path)));
    }

    /// <summary>Makes it what the version without seals wrote.</summary>
    public static void Unseal(string path) => Edit(path, json =>
    {
        json["fleeceManifest"] = 1;
        foreach (string field in NewFields)
        {
            json.Remove(field);
        }
    });

    /// <summary>The bytes with a seal that fits: its line and the last one are cut off, the rest digested, and both put back.</summary>
    public static byte[] Seal(byte[] bytes)
    {
        int sealedBytes = bytes.AsSpan().LastIndexOf(Encoding.ASCII.GetBytes(SealLine)) + 1;
        Assert.NotEqual(0, sealedBytes);
        string digest = Convert.ToHexStringLower(SHA256.HashData(bytes.AsSpan(0, sealedBytes)));
        return [.. bytes[..sealedBytes], .. Encoding.ASCII.GetBytes($"{SealLine[1..]}{digest}\"\n}}\n")];
    }

    private static string Indent(JsonNode json) =>
        json.ToJsonString(new JsonSerializerOptions { WriteIndented = true, NewLine = "\n" });
}
