// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Fleece.Backups.Manifests;

namespace Fleece.Hosting.State;

/// <summary>The content of state.json, but for its version and its seal.</summary>
/// <param name="WrittenBy">The version of Fleece that wrote it.</param>
/// <param name="WrittenAt">When.</param>
/// <param name="Generation">Counts the changes of the state; the first one is 1.</param>
/// <param name="Disks">The disks, sorted by name.</param>
/// <param name="QmpSockets">The sockets of QEMUs whose guests may have sessions of the host, sorted; absolute paths.</param>
internal sealed record StateDocument(
    string WrittenBy,
    DateTimeOffset WrittenAt,
    long Generation,
    IReadOnlyList<MountedDiskState> Disks,
    IReadOnlyList<string> QmpSockets);

/// <summary>Why a state can't be used.</summary>
/// <param name="Reason">A part of a sentence.</param>
/// <param name="IsNewer">True for the whole state of a newer version of Fleece.</param>
internal sealed record StateFault(string Reason, bool IsNewer = false);

/// <summary>The text of state.json: JSON in UTF-8 that ends with a seal over all the bytes before it.</summary>
/// <remarks>Threading. Not changed once it is made.</remarks>
/// <param name="version">The version that is written, and read.</param>
/// <param name="upgradeOlder">Makes the fields of the version before those of this one; null where there is none.</param>
internal sealed class StateFormat(int version, Action<JsonObject>? upgradeOlder)
{
    /// <summary>The version that this Fleece writes. docs/host.md says when it changes, and how.</summary>
    public const int Version = 3;

    /// <summary>Most bytes of a state: that of some ten thousand disks.</summary>
    public const int MaximumBytes = 16 * 1024 * 1024;

    private const string VersionField = "fleeceHostState";
    private const string WriterField = "writtenBy";

    // The state, its disks, a disk, its mount, the listeners, a listener, its certificates, their paths; some more for later versions.
    private const int MaximumDepth = 16;
    private const int MaximumShownLength = 100;

    private static readonly JsonSerializerOptions Options = new(JsonSerializerOptions.Strict)
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // Else a plus sign is six characters; no browser reads this.
        MaxDepth = MaximumDepth,
        WriteIndented = true,
        NewLine = "\n",
        Converters = { new ModeConverter(), new JsonStringEnumConverter(allowIntegerValues: false) },
    };

    /// <summary>The format of this Fleece.</summary>
    public static StateFormat Current { get; } = new(Version, UpgradeVersion2);

    /// <summary>The version that <see cref="Encode"/> writes.</summary>
    public int WrittenVersion => version;

    /// <summary>A state as text.</summary>
    public byte[] Encode(StateDocument document)
    {
        JsonObject json = JsonSerializer.SerializeToNode(document, Options)!.AsObject();
        json.Insert(0, VersionField, version);
        json.Add(ManifestSeal.Field, ManifestSeal.Blank);
        byte[] bytes = Encoding.UTF8.GetBytes(json.ToJsonString(Options) + "\n");
        ManifestSeal.Write(bytes);
        return bytes;
    }

    /// <summary>Reads a state.</summary>
    /// <param name="bytes">The whole file.</param>
    /// <param name="readVersion">The version of the file: this one or the one before.</param>
    /// <param name="fault">What is wrong; null when nothing is.</param>
    /// <returns>The state; null when something is wrong.</returns>
    public StateDocument? Parse(ReadOnlySpan<byte> bytes, out int readVersion, out StateFault? fault)
    {
        readVersion = 0;
        fault = bytes.Length > MaximumBytes ? new StateFault($"it is longer than {MaximumBytes} bytes") : ManifestSeal.Examine(bytes) switch
        {
            null when bytes.IsEmpty => new StateFault("it is empty"),
            null => new StateFault("it does not end with its seal, so it is cut short or something other than Fleece has edited it"),
            false => new StateFault(
                "its seal does not fit its content, so the storage has damaged it or something other than Fleece has edited it"),
            true => null,
        };
        if (fault is not null)
        {
            return null;
        }

        try
        {
            JsonNode? json = JsonNode.Parse(
                bytes, documentOptions: new JsonDocumentOptions { MaxDepth = MaximumDepth, AllowDuplicateProperties = false });
            return Read(json as JsonObject, out readVersion, out fault);
        }
        catch (JsonException e)
        {
            fault = new StateFault(e.Path is null or "$"
                ? "it is not JSON, or not that of a state"
                : $"the part {Cut(e.Path)} of it is not what a state has there");
            return null;
        }
        catch (InvalidOperationException)
        {
            fault = new StateFault("a text in it is not Unicode"); // Half a surrogate pair (RFC 8259, section 8.2).
            return null;
        }
    }

    // A disk that was not closed was served in a run of the system that is not known, and without a journal.
    private static void UpgradeVersion2(JsonObject json)
    {
        foreach (JsonObject disk in json["disks"]?.AsArray().OfType<JsonObject>() ?? [])
        {
            if (disk["image"]?["isClosed"]?.GetValue<bool>() == false && disk["mount"]?["isReadOnly"]?.GetValue<bool>() == false)
            {
                disk["servedInBoot"] = Guid.Empty;
                disk["unjournaledInBoot"] = Guid.Empty;
            }
        }
    }

    private StateDocument? Read(JsonObject? json, out int readVersion, out StateFault? fault)
    {
        readVersion = 0;
        if (json?[VersionField] is not JsonValue field || !field.TryGetValue(out readVersion))
        {
            fault = new StateFault($"it has no field '{VersionField}', or one that is no number");
            return null;
        }

        if (readVersion > version)
        {
            string writer = json[WriterField] is JsonValue value && value.TryGetValue(out string? text) ? Cut(text) : "a newer version";
            fault = new StateFault(
                $"Fleece {writer} wrote it, in version {readVersion} of the format, and this Fleece knows version {version}",
                IsNewer: true);
            return null;
        }

        if (readVersion < version)
        {
            if (readVersion != version - 1 || upgradeOlder is null)
            {
                fault = new StateFault($"it is of version {readVersion}, which this Fleece does not know");
                return null;
            }

            upgradeOlder(json);
        }

        json.Remove(VersionField);
        json.Remove(ManifestSeal.Field);
        StateDocument document = json.Deserialize<StateDocument>(Options)!;
        fault = FindFault(document) is { } reason ? new StateFault(reason) : null;
        return fault is null ? document : null;
    }

    private static string? FindFault(StateDocument document)
    {
        HashSet<string> names = new(StringComparer.OrdinalIgnoreCase);
        return document.Generation < 1
            ? $"its generation is {document.Generation}"
            : document.QmpSockets.FirstOrDefault(path => !StateRules.IsAbsolute(path)) is { } relative
            ? $"'{relative}' is no absolute path"
            : document.QmpSockets.Contains(null) ? "a QMP socket has no path"
            : document.Disks.Select(disk => StateRules.FindFault(disk)
                    ?? (names.Add(disk.Name) ? null : $"it has several disks '{disk.Name}'"))
                .FirstOrDefault(found => found is not null);
    }

    private static string Cut(string text) => text.Length <= MaximumShownLength ? text : text[..MaximumShownLength] + "...";

    // Permissions as chmod(1) takes them.
    private sealed class ModeConverter : JsonConverter<UnixFileMode>
    {
        private const int Octal = 8;
        private const int Digits = 4;

        public override UnixFileMode Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            reader.TokenType == JsonTokenType.String && reader.GetString() is { Length: Digits } text &&
            text.All(digit => digit is >= '0' and < '8')
                ? (UnixFileMode)Convert.ToInt32(text, Octal)
                : throw new JsonException();

        public override void Write(Utf8JsonWriter writer, UnixFileMode value, JsonSerializerOptions options) =>
            writer.WriteStringValue(Convert.ToString((int)value, Octal).PadLeft(Digits, '0'));
    }
}
