// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Disks.Storage;

/// <summary>What an export of Fleece is of, as its server tells clients: a live disk, or a snapshot; docs/nbd.md has the keys.</summary>
internal sealed record ExportIdentity
{
    private const string KindKey = "kind";
    private const string DiskKey = "disk";
    private const string WritersKey = "writers";
    private const string SessionKey = "session";
    private const string ConsumerKey = "consumer";
    private const string TimeKey = "time";
    private const string IdKey = "id";
    private const string BitmapKey = "bitmap";
    private const string BaselineKey = "baseline";
    private const string LimitedKey = "limited";
    private const string SharedKey = "shared";

    private const string DiskKind = "disk";
    private const string SnapshotKind = "snapshot";
    private const string None = "none";
    private const string Yes = "yes";

    /// <summary>True for a snapshot, false for a live disk.</summary>
    public required bool IsSnapshot { get; init; }

    /// <summary>The disk's name; null for a live disk whose name can't be told.</summary>
    public required string? DiskName { get; init; }

    /// <summary>True for a disk that nothing changes: mounted read-only, from an image that is locked or a snapshot.</summary>
    public bool IsUnchanging { get; init; }

    /// <summary>Clients of the disk when the identity was asked, over all its listeners; null where that is not told.</summary>
    public int? GuestCount { get; init; }

    /// <summary>The session of a snapshot.</summary>
    public string SessionName { get; init; } = string.Empty;

    /// <summary>The consumer whose export a snapshot's is; null for none.</summary>
    public string? Consumer { get; init; }

    /// <summary>The instant of a snapshot.</summary>
    public DateTimeOffset Instant { get; init; }

    /// <summary>The identity of that instant.</summary>
    public Guid InstantId { get; init; }

    /// <summary>The bitmap that the session pinned; null for none.</summary>
    public string? BitmapName { get; init; }

    /// <summary>The instant that the bitmap counts from; null where the snapshot shows the whole disk, or ranges that count from none.
    /// </summary>
    public Guid? BaselineId { get; init; }

    /// <summary>True for a snapshot of ranges that count from no instant.</summary>
    public bool IsLimited { get; init; }

    /// <summary>True for a snapshot of a disk to which others write as well, past the session: it shows no one moment.</summary>
    public bool IsShared { get; init; }

    /// <summary>True when what is read may change while it is read, or has while its session ran.</summary>
    public bool IsTorn => IsSnapshot ? IsShared : !IsUnchanging;

    /// <summary>What a server told; null where that is nothing, or of a kind that this version does not know.</summary>
    /// <exception cref="BlockException"><see cref="NbdErrors.ProtocolViolated"/>: a value that can't be one.</exception>
    public static ExportIdentity? Read(NbdUri uri, IReadOnlyDictionary<string, string> told) => told.GetValueOrDefault(KindKey) switch
    {
        DiskKind => new ExportIdentity
        {
            IsSnapshot = false,
            DiskName = NameOrNull(uri, told, DiskKey),
            IsUnchanging = told.GetValueOrDefault(WritersKey) == None,
            GuestCount = CountOrNull(uri, told),
        },
        SnapshotKind => new ExportIdentity
        {
            IsSnapshot = true,
            DiskName = NameOrNull(uri, told, DiskKey) ?? throw Malformed(uri, told, DiskKey),
            SessionName = NameOrNull(uri, told, SessionKey) ?? throw Malformed(uri, told, SessionKey),
            Consumer = NameOrNull(uri, told, ConsumerKey),
            Instant = Time(uri, told),
            InstantId = IdOrNull(uri, told, IdKey) ?? throw Malformed(uri, told, IdKey),
            BitmapName = told.GetValueOrDefault(BitmapKey),
            BaselineId = IdOrNull(uri, told, BaselineKey),
            IsLimited = Truth(uri, told, LimitedKey),
            IsShared = Truth(uri, told, SharedKey),
        }.Checked(uri, told),
        _ => null,
    };

    /// <summary>The export of the disk, beside the one that tells this: without the session and the consumer behind its name.</summary>
    public NbdUri DiskUri(NbdUri uri)
    {
        string snapshot = Consumer is null ? $"/{SessionName}" : $"/{SessionName}/{Consumer}";
        return IsSnapshot && uri.ExportName.EndsWith(snapshot, StringComparison.OrdinalIgnoreCase)
            ? uri.WithExport(uri.ExportName[..^snapshot.Length])
            : uri;
    }

    /// <summary>The keys and values.</summary>
    public IReadOnlyList<KeyValuePair<string, string>> ToPairs()
    {
        (string Key, string? Value)[] pairs = IsSnapshot
            ?
            [
                (KindKey, SnapshotKind), (DiskKey, DiskName), (SessionKey, SessionName), (ConsumerKey, Consumer),
                (TimeKey, Instant.UtcDateTime.ToString("O", CultureInfo.InvariantCulture)), (IdKey, InstantId.ToString("D")),
                (BitmapKey, BitmapName), (BaselineKey, BaselineId?.ToString("D")),
                (LimitedKey, IsLimited ? Yes : null), (SharedKey, IsShared ? Yes : null),
            ]
            :
            [
                (KindKey, DiskKind), (DiskKey, DiskName), (WritersKey, IsUnchanging ? None : null),
                (IdentityNames.Guests, GuestCount?.ToString(CultureInfo.InvariantCulture)),
            ];
        return [.. pairs.Where(pair => pair.Value is not null).Select(pair => KeyValuePair.Create(pair.Key, pair.Value!))];
    }

    // A snapshot that counts from a backup can't be a torn copy, nor name itself, nor be without the bitmap that counts.
    private ExportIdentity Checked(NbdUri uri, IReadOnlyDictionary<string, string> told) =>
        BaselineId is not null && (BitmapName is null || BaselineId == InstantId || IsShared || IsLimited)
            ? throw Malformed(uri, told, BaselineKey)
            : this;

    private static string? NameOrNull(NbdUri uri, IReadOnlyDictionary<string, string> told, string key) =>
        told.GetValueOrDefault(key) is not { } name ? null : ObjectNames.IsName(name) ? name : throw Malformed(uri, told, key);

    private static Guid? IdOrNull(NbdUri uri, IReadOnlyDictionary<string, string> told, string key) =>
        told.GetValueOrDefault(key) is not { } text ? null
        : Guid.TryParseExact(text, "D", out Guid id) && id != Guid.Empty ? id
        : throw Malformed(uri, told, key);

    private static DateTimeOffset Time(NbdUri uri, IReadOnlyDictionary<string, string> told) =>
        told.GetValueOrDefault(TimeKey) is { } text && text.EndsWith('Z') &&
        DateTimeOffset.TryParseExact(text, "O", CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind, out DateTimeOffset time)
            ? time
            : throw Malformed(uri, told, TimeKey);

    private static int? CountOrNull(NbdUri uri, IReadOnlyDictionary<string, string> told) =>
        told.GetValueOrDefault(IdentityNames.Guests) is not { } text ? null
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) ? count
        : throw Malformed(uri, told, IdentityNames.Guests);

    private static bool Truth(NbdUri uri, IReadOnlyDictionary<string, string> told, string key) =>
        told.GetValueOrDefault(key) switch
        {
            null => false,
            Yes => true,
            _ => throw Malformed(uri, told, key),
        };

    private static BlockException Malformed(NbdUri uri, IReadOnlyDictionary<string, string> told, string key) => new(
        NbdErrors.ProtocolViolated,
        $"The server at '{uri}' tells no valid identity of the export: its '{key}' is " +
        (told.TryGetValue(key, out string? value) ? $"'{value}'" : "missing") +
        ". Nothing is read from it or written to it, because a backup would be put down to the wrong disk or instant.",
        uri.ToString(),
        operation: "connect");
}
