// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;
using Fleece.Images;
using Fleece.Sessions.Backups;

namespace Fleece.Sessions.Repositories;

/// <summary>Takes a manifest out of its JSON and refuses what can't be one (rule R5).</summary>
/// <param name="path">What messages call the file.</param>
/// <param name="root">The JSON.</param>
/// <param name="isSealed">True when the file ends with its seal, and that fits.</param>
internal readonly struct ManifestReader(string path, JsonElement root, bool isSealed)
{
    // Most characters of the file that a message repeats.
    private const int MaximumShownLength = 100;

    /// <summary>The error of a manifest that is none.</summary>
    public static BlockException Invalid(string path, string fault) => new(
        BlockErrorKind.ManifestInvalid,
        $"'{path}' does not describe a backup: {fault}. Put the file back from a copy; until then its backup can't be used.",
        path,
        operation: "read");

    public Manifest Read()
    {
        if (root.ValueKind != JsonValueKind.Object)
        {
            throw Invalid(path, "it is no JSON object");
        }

        bool hasSeal = CheckVersion();
        long sizeBytes = Number("sizeBytes", long.MaxValue);
        Manifest manifest = new()
        {
            Number = (int)Number("number", RepositoryNames.MaximumNumber),
            Id = Identity("id") ?? throw Missing("id"),
            ChainId = Identity("chainId") ?? throw Missing("chainId"),
            ParentId = Identity("parentId"),
            FileName = Text("file") ?? throw Missing("file"),
            Format = Choice<ImageFormat>("format"),
            Compression = Choice<ImageCompression>("compression"),
            InstantAt = Time("instant"),
            CompletedAt = Time("completed"),
            DiskName = Text("disk") ?? throw Missing("disk"),
            SessionId = Text("session") ?? throw Missing("session"),
            BitmapName = Text("bitmap"),
            SizeBytes = sizeBytes,
            FileSizeBytes = Number("fileSizeBytes", long.MaxValue),
            State = Choice<PointState>("state"),
            SuccessorId = Identity("successorId"),
            Content = Content(),
            IsSealed = hasSeal,
            HasMerged = hasSeal && Truth("hasMerged"),
            ParentContentDigest = hasSeal ? DigestText("parentContentDigest") : null,
            ContentDigest = hasSeal ? DigestText("contentDigest") ?? throw Missing("contentDigest") : null,
        };
        string fileName = Path.GetFileName(path);
        string ownName = fileName.EndsWith(RepositoryNames.Partial, StringComparison.Ordinal)
            ? fileName[..^RepositoryNames.Partial.Length]
            : fileName;

        // The name decides which file is opened, renamed and deleted, so it may lead nowhere but beside the manifest. Outside of a
        // repository the two may be renamed together, and no other file knows them by name.
        manifest = manifest.IsSingleFile ? manifest with { FileName = FileManifest.ImageOf(ownName) } : manifest;
        CheckName(manifest, ownName);
        Check(manifest);
        return manifest;
    }

    // A file that says it is of the version before seals is not made one of it by that alone.
    private bool CheckVersion()
    {
        long version = Number("fleeceManifest", int.MaxValue);
        switch (version)
        {
            case ManifestFile.UnsealedVersion when root.TryGetProperty(ManifestSeal.Field, out _):
                throw Invalid(path, $"its field 'fleeceManifest' is {version}, and manifests of that version have no seal");
            case ManifestFile.UnsealedVersion:
                return false;
            case ManifestFile.Version when !isSealed:
                throw Invalid(path, "it does not end with its seal, so it is cut short or something other than Fleece has edited it");
            case ManifestFile.Version:
                return true;
            default:
                throw Invalid(
                    path,
                    $"its field 'fleeceManifest' is {version}, and this version of Fleece knows {ManifestFile.UnsealedVersion} and " +
                    $"{ManifestFile.Version}");
        }
    }

    private void CheckName(Manifest manifest, string ownName)
    {
        bool fits = manifest.IsSingleFile
            ? manifest.FileName.Length != 0 && FileManifest.PathFor(manifest.FileName) == ownName
            : RepositoryNames.ManifestFor(manifest.FileName) == ownName &&
                RepositoryNames.TryParse(manifest.FileName, out int number, out bool isManifest) && !isManifest &&
                number == manifest.Number;
        if (!fits)
        {
            throw Invalid(
                path, $"its field 'file' is {Show(Field("file"))} and its number {manifest.Number}, which do not fit its own name");
        }
    }

    private void Check(Manifest manifest)
    {
        if (manifest.ParentId == manifest.Id)
        {
            throw Invalid(path, "its field 'parentId' names itself");
        }

        if (manifest.SuccessorId == manifest.Id)
        {
            throw Invalid(path, "its field 'successorId' names itself");
        }

        if ((manifest.SuccessorId is null) != (manifest.State == PointState.Kept) ||
            (manifest.IsSingleFile && manifest.State != PointState.Kept))
        {
            throw Invalid(path, $"its field 'state' is {manifest.State}, which does not fit its field 'successorId'");
        }

        if (manifest.FindFault() is { } fault)
        {
            throw Invalid(path, fault);
        }

        // What a merge has changed can't be computed any more, and what an older version has written never was.
        if (manifest is { IsSealed: true, State: PointState.Kept, HasMerged: false } &&
            manifest.ContentDigest != ContentDigest.Of(manifest))
        {
            throw Invalid(path, "its field 'contentDigest' does not fit its content");
        }
    }

    private List<ContentExtent> Content()
    {
        JsonElement content = Field("content");
        if (content.ValueKind != JsonValueKind.Array)
        {
            throw Missing("content");
        }

        List<ContentExtent> extents = new(content.GetArrayLength());
        foreach (JsonElement item in content.EnumerateArray())
        {
            extents.Add(Extent(item));
        }

        return extents;
    }

    private ContentExtent Extent(JsonElement item)
    {
        int fields = item.ValueKind == JsonValueKind.Array ? item.GetArrayLength() : 0;
        if (fields is not (2 or 3) ||
            item[0].ValueKind != JsonValueKind.Number || !item[0].TryGetInt64(out long offsetBytes) || offsetBytes < 0 ||
            item[1].ValueKind != JsonValueKind.Number || !item[1].TryGetInt64(out long lengthBytes) || lengthBytes < 0 ||
            offsetBytes > long.MaxValue - lengthBytes)
        {
            throw Invalid(path, $"{Show(item)} in its field 'content' is not [offset, length] or [offset, length, \"sha256\"]");
        }

        return new ContentExtent(new BlockRange(offsetBytes, lengthBytes), fields == 3 ? Digest(item[2]) : null);
    }

    private byte[] Digest(JsonElement item)
    {
        byte[] digest = new byte[ContentExtent.DigestBytes];
        if (item.ValueKind == JsonValueKind.String && item.GetString() is { Length: ContentExtent.DigestBytes * 2 } text &&
            Convert.FromHexString(text, digest, out _, out _) == System.Buffers.OperationStatus.Done)
        {
            return digest;
        }

        throw Invalid(path, $"{Show(item)} in its field 'content' is not a SHA-256 digest in hexadecimal");
    }

    private string? DigestText(string name) => Text(name) switch
    {
        null => null,
        { Length: ContentExtent.DigestBytes * 2 } text when text.All(char.IsAsciiHexDigitLower) => text,
        _ => throw Invalid(path, $"its field '{name}' is {Show(Field(name))}, not a SHA-256 digest in hexadecimal"),
    };

    private bool Truth(string name)
    {
        JsonElement field = Field(name);
        return field.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? field.GetBoolean()
            : throw Invalid(path, $"its field '{name}' is {Show(field)}, not true or false");
    }

    private JsonElement Field(string name) => root.TryGetProperty(name, out JsonElement field) ? field : throw Missing(name);

    private long Number(string name, long maximum)
    {
        JsonElement field = Field(name);
        return field.ValueKind == JsonValueKind.Number && field.TryGetInt64(out long value) && value >= 0 && value <= maximum
            ? value
            : throw Invalid(path, $"its field '{name}' is {Show(field)}, not a number from 0 to {maximum}");
    }

    private string? Text(string name)
    {
        JsonElement field = Field(name);
        return field.ValueKind switch
        {
            JsonValueKind.String => field.GetString(),
            JsonValueKind.Null => null,
            _ => throw Invalid(path, $"its field '{name}' is {Show(field)}, not a text"),
        };
    }

    private Guid? Identity(string name) =>
        Text(name) is not { } text ? null
        : Guid.TryParseExact(text, "D", out Guid id) ? id
        : throw Invalid(path, $"its field '{name}' is {Show(Field(name))}, not a UUID");

    private DateTimeOffset Time(string name)
    {
        JsonElement field = Field(name);
        return field.ValueKind == JsonValueKind.String && field.TryGetDateTimeOffset(out DateTimeOffset time)
            ? time
            : throw Invalid(path, $"its field '{name}' is {Show(field)}, not a time as in ISO 8601");
    }

    private T Choice<T>(string name)
        where T : struct, Enum =>
        Text(name) is { } text && Enum.GetNames<T>().Contains(text)
            ? Enum.Parse<T>(text)
            : throw Invalid(path, $"its field '{name}' is none of {string.Join(", ", Enum.GetNames<T>())}");

    private static string Show(JsonElement element)
    {
        string text = element.GetRawText();
        return text.Length <= MaximumShownLength ? text : text[..MaximumShownLength] + "...";
    }

    private BlockException Missing(string name) => Invalid(path, $"it has no field '{name}', or one of another kind");
}
