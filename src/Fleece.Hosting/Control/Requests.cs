// SPDX-License-Identifier: MIT
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Serialization;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Records;
using Fleece.Images;

namespace Fleece.Hosting.Control;

/// <summary>How an image becomes a disk.</summary>
/// <remarks>A host keeps it in its state directory and mounts the disk so when it starts again.</remarks>
internal sealed record MountRequest
{
    /// <summary>The image's absolute path, or an NBD URI.</summary>
    public required string Address { get; init; }

    /// <summary>The disk's name; null for the file's name without its extension.</summary>
    public string? Name { get; init; }

    /// <summary>The format; null where the content decides it.</summary>
    public ImageFormat? Format { get; init; }

    /// <summary>True to refuse guest writes.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>True when others may write to the disk as well.</summary>
    public bool IsShared { get; init; }

    /// <summary>The internal snapshot to mount; null for the present state.</summary>
    public string? SnapshotName { get; init; }

    /// <summary>Most memory for cached metadata tables; null for the default.</summary>
    public long? MetadataCacheBytes { get; init; }

    /// <summary>True to use a data file outside the image's folder.</summary>
    public bool AllowsOutsideDataFile { get; init; }

    /// <summary>True to treat the image as from a stranger.</summary>
    public bool IsUntrusted { get; init; }

    /// <summary>True to give sessions up that wait for the image to be mounted again. No part of how a disk is mounted at the next start.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool DiscardsSessions { get; init; }

    /// <summary>Certificates for an image at an nbds URI.</summary>
    public TlsFiles? Tls { get; init; }

    /// <summary>Where the disk is published.</summary>
    public IReadOnlyList<ListenRequest> Listeners { get; init => field = RecordList<ListenRequest>.Of(value); } =
        RecordList<ListenRequest>.Empty;
}

/// <summary>How a disk is published.</summary>
internal sealed record ListenRequest
{
    /// <summary>The address, with the absolute path of a socket.</summary>
    public required string ListenUri { get; init; }

    /// <summary>The export's name; null for the one in the URI, and where that has none, the disk's.</summary>
    public string? ExportName { get; init; }

    /// <summary>True to refuse writes and the discarding of snapshots.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>True to offer the disk's snapshots and not the disk.</summary>
    public bool IsSnapshotOnly { get; init; }

    /// <summary>True to listen beyond this machine without TLS.</summary>
    public bool AllowsInsecure { get; init; }

    /// <summary>The listener's certificates, for nbds.</summary>
    public TlsFiles? Tls { get; init; }

    /// <summary>The permissions of a unix socket's file; null for its owner and, where one is given, its group.</summary>
    public UnixFileMode? SocketMode { get; init; }

    /// <summary>The group of a unix socket's file, by name or number; null for the process's.</summary>
    public string? SocketGroup { get; init; }
}

/// <summary>Certificates: the paths of their files, and in the process that has read them, the certificates.</summary>
/// <remarks>Only paths go to a host and into its state: keys stay where they are.</remarks>
internal sealed record TlsFiles
{
    /// <summary>The absolute path of a file with a certificate and its key; null for none, and for one that came from no file.</summary>
    public string? CertificatePath { get; init; }

    /// <summary>The absolute paths of files with authorities' certificates; null for none, and where one came from no file.</summary>
    public IReadOnlyList<string>? AuthorityPaths { get; init => field = value is null ? null : RecordList<string>.Of(value); }

    /// <summary>The certificate, where this process has it.</summary>
    [JsonIgnore]
    public X509Certificate2? Certificate { get; init; }

    /// <summary>The authorities' certificates, where this process has them.</summary>
    [JsonIgnore]
    public IReadOnlyList<X509Certificate2>? Authorities { get; init; }
}

/// <summary>How sessions are started.</summary>
internal sealed record SessionRequest
{
    /// <summary>The disks, all of which get a session at the same instant.</summary>
    public required IReadOnlyList<DiskReference> Disks { get; init => field = RecordList<DiskReference>.Of(value); }

    /// <summary>The session's name; null for the disk's name.</summary>
    public string? Name { get; init; }

    /// <summary>The ranges the snapshot is limited to; null for the whole disk.</summary>
    public IReadOnlyList<BlockRange>? Ranges { get; init => field = value is null ? null : RecordList<BlockRange>.Of(value); }

    /// <summary>The bitmap the snapshot is limited to; null for none.</summary>
    public BitmapReference? Bitmap { get; init; }

    /// <summary>The bitmap to make, which records from the instant on; null for none.</summary>
    public string? NextBitmap { get; init; }

    /// <summary>Names of the consumers that must all confirm a range.</summary>
    public IReadOnlyList<string> Consumers { get; init => field = RecordList<string>.Of(value); } = RecordList<string>.Empty;

    /// <summary>Where old data goes: an absolute path or an NBD URI; null for a file beside the image.</summary>
    public string? TempPath { get; init; }

    /// <summary>Certificates for a temp image at an nbds URI.</summary>
    public TlsFiles? Tls { get; init; }

    /// <summary>The absolute path of a state directory in which the sessions are kept, so that another process can resume them; null for
    /// the host's own, and for none in a process that is no host.</summary>
    public string? StatePath { get; init; }

    /// <summary>The unit of copying; null for the default.</summary>
    public int? GranuleSizeBytes { get; init; }

    /// <summary>Who loses when a copy fails.</summary>
    public CopyErrorPolicy OnCopyError { get; init; } = CopyErrorPolicy.BreakSnapshot;

    /// <summary>How long a guest's write waits for a copy; null for no limit.</summary>
    public TimeSpan? CopyTimeout { get; init; }

    /// <summary>How much old data temp may hold; null for no limit.</summary>
    public long? TempLimitBytes { get; init; }

    /// <summary>How much of that is taken when the session warns, in percent; null for the default.</summary>
    public int? TempWarningPercent { get; init; }

    /// <summary>How long a guest's write is held back at most while temp fills; null for no delay.</summary>
    public TimeSpan? MaxGuestDelay { get; init; }

    /// <summary>How the guest is made quiet for the instant; null for not at all.</summary>
    public QuiesceOptions? Quiesce { get; init; }

    /// <summary>The NBD URI of a server of the guest's QEMU that others have started, for the snapshots; null for Fleece's own.</summary>
    public string? NbdServerUri { get; init; }
}

/// <summary>How a session is measured that is not started.</summary>
internal sealed record MeasureRequest
{
    /// <summary>How long.</summary>
    public required TimeSpan Duration { get; init; }

    /// <summary>As <see cref="SessionRequest.GranuleSizeBytes"/>.</summary>
    public int? GranuleSizeBytes { get; init; }

    /// <summary>As <see cref="SessionRequest.Bitmap"/>.</summary>
    public BitmapReference? Bitmap { get; init; }

    /// <summary>As <see cref="SessionRequest.TempLimitBytes"/>.</summary>
    public long? TempLimitBytes { get; init; }
}

/// <summary>A change of a dirty bitmap.</summary>
internal enum BitmapChange
{
    /// <summary>Forget it.</summary>
    Remove,

    /// <summary>Empty it.</summary>
    Clear,

    /// <summary>Let it record.</summary>
    Enable,

    /// <summary>Let it record nothing.</summary>
    Disable,
}

/// <summary>A bitmap that was made.</summary>
/// <param name="Bitmap">The bitmap.</param>
/// <param name="JournalFault">Why it would not survive the end of its process before the disk is dismounted; null when it would.</param>
internal sealed record CreatedBitmap(BitmapInfo Bitmap, string? JournalFault);

/// <summary>A disk as a job sees it; <see cref="Fleece.Disks.IFleeceable"/> says what the members mean.</summary>
internal sealed record FleeceableDisk(
    string Name, Guid MountId, bool IsShared, bool IsReadOnly, BitmapLifetime BitmapsLast);
