// SPDX-License-Identifier: MIT
using System.Buffers;
using System.Text;
using System.Text.Json;
using Fleece.Backups.Content;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Manifests;

/// <summary>Takes a manifest out of its JSON and refuses what can't be one (rule R5).</summary>
/// <remarks>The list of the content is by far the longest part, so it is read from the bytes straight into extents.</remarks>
/// <param name="path">What messages call the file.</param>
/// <param name="bytes">The file, in UTF-8.</param>
/// <param name="isSealed">True when the file ends with its seal, and that fits.</param>
internal sealed class ManifestReader(string path, ReadOnlyMemory<byte> bytes, bool isSealed)
{
    // Most characters of the file that a message repeats.
    private const int MaximumShownLength = 100;

    // The manifest, its content, and an extent of that; some more, for what another version may add.
    private const int MaximumDepth = 8;

    // Longer than any name of a disk or a session, and more fields than any version has.
    private const int MaximumFieldBytes = 64 * 1024;
    private const int MaximumFields = 64;

    private const string ContentField = "content";

    private static readonly JsonReaderOptions Options = new() { MaxDepth = MaximumDepth };

    private readonly Dictionary<string, JsonElement> _fields = new(StringComparer.Ordinal);
    private Range _content;

    /// <summary>The error of a manifest that is none.</summary>
    public static BlockException Invalid(string path, string fault) => new(
        BackupErrors.ManifestInvalid,
        $"'{path}' does not describe a backup: {fault}. Put the file back from a copy; until then its backup can't be used.",
        path,
        operation: "read");

    public Manifest Read()
    {
        ReadFields();
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
            SourceAddress = _fields.ContainsKey("source") ? Text("source") : null,
            IsShared = _fields.ContainsKey("isShared") && Truth("isShared"),
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
            case ManifestFile.UnsealedVersion when _fields.ContainsKey(ManifestSeal.Field):
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

        if (manifest is { IsShared: true, ParentId: not null })
        {
            throw Invalid(path, "its field 'isShared' is true, and a backup of a shared disk builds on no other");
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

        // The other formats are only read, and their images name files anywhere.
        if (manifest.Format is not (ImageFormat.Raw or ImageFormat.Qcow2 or ImageFormat.Vhd or ImageFormat.Vhdx))
        {
            throw Invalid(path, $"its field 'format' is {manifest.Format}, which no backup has");
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

    // The fields, but of the content only where it is: its turn comes when all else says that this is a manifest.
    private void ReadFields()
    {
        Utf8JsonReader reader = new(bytes.Span, Options);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            throw Invalid(path, "it is no JSON object");
        }

        HashSet<string> names = new(StringComparer.Ordinal);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            CheckLength(reader.ValueSpan.Length, "the name of a field");
            string name = reader.GetString()!;
            if (!names.Add(name))
            {
                throw Invalid(path, $"it has several fields '{Cut(name)}'");
            }

            if (names.Count > MaximumFields)
            {
                throw Invalid(path, $"it has more than {MaximumFields} fields");
            }

            reader.Read();
            ReadField(ref reader, name);
        }

        // Bytes behind the object are not JSON, and the reader says so.
        reader.Read();
    }

    private void ReadField(ref Utf8JsonReader reader, string name)
    {
        Utf8JsonReader start = reader;
        reader.Skip();
        Range range = (int)start.TokenStartIndex..(int)reader.BytesConsumed;
        if (name == ContentField)
        {
            _content = range;
            return;
        }

        CheckLength(range.End.Value - range.Start.Value, $"its field '{Cut(name)}'");
        _fields.Add(name, JsonElement.ParseValue(ref start));
    }

    private void CheckLength(int length, string what)
    {
        if (length > MaximumFieldBytes)
        {
            throw Invalid(path, $"{what} has {length} bytes, and {MaximumFieldBytes} is the limit");
        }
    }

    private List<ContentExtent> Content()
    {
        ReadOnlySpan<byte> content = bytes.Span[_content];
        Utf8JsonReader reader = new(content, Options);
        if (content.IsEmpty || !reader.Read() || reader.TokenType != JsonTokenType.StartArray)
        {
            throw Missing(ContentField);
        }

        List<ContentExtent> extents = [];
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            Utf8JsonReader start = reader;
            if (ReadExtent(ref reader) is not { } extent)
            {
                reader = start;
                reader.Skip();
                string text = Encoding.UTF8.GetString(content[(int)start.TokenStartIndex..(int)reader.BytesConsumed]);
                throw Invalid(path, $"{Cut(text)} in its field 'content' is not [offset, length] or [offset, length, \"sha256\"]");
            }

            extents.Add(extent);
        }

        return extents;
    }

    // Null for what is none.
    private static ContentExtent? ReadExtent(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray ||
            !TryReadBytes(ref reader, out long offsetBytes) || !TryReadBytes(ref reader, out long lengthBytes) ||
            offsetBytes > long.MaxValue - lengthBytes || !reader.Read())
        {
            return null;
        }

        byte[]? digest = null;
        if (reader.TokenType == JsonTokenType.String)
        {
            digest = new byte[ContentExtent.DigestBytes];
            if (reader.ValueIsEscaped || reader.ValueSpan.Length != ContentExtent.DigestBytes * 2 ||
                Convert.FromHexString(reader.ValueSpan, digest, out _, out _) != OperationStatus.Done || !reader.Read())
            {
                return null;
            }
        }

        return reader.TokenType == JsonTokenType.EndArray
            ? new ContentExtent(new BlockRange(offsetBytes, lengthBytes), digest)
            : null;
    }

    private static bool TryReadBytes(ref Utf8JsonReader reader, out long value)
    {
        value = 0;
        return reader.Read() && reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out value) && value >= 0;
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

    private JsonElement Field(string name) => _fields.TryGetValue(name, out JsonElement field) ? field : throw Missing(name);

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

    private static string Show(JsonElement element) => Cut(element.GetRawText());

    private static string Cut(string text) => text.Length <= MaximumShownLength ? text : text[..MaximumShownLength] + "...";

    private BlockException Missing(string name) => Invalid(path, $"it has no field '{name}', or one of another kind");
}
