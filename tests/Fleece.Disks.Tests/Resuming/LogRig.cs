// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

/// <summary>A folder of logs, an image and a temp image, for sessions that are files alone.</summary>
internal sealed class LogRig : IDisposable
{
    /// <summary>A disk with eight pages of granules.</summary>
    public const long DiskBytes = 1L << 30;

    public const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>A folder in memory, where flushes cost nothing; null where the system has none.</summary>
    public static readonly string? MemoryPath = Directory.Exists("/dev/shm") ? "/dev/shm" : null;

    private readonly TempFolder? _folder;

    public LogRig(string? sessionsPath = null)
        : this(new TempFolder(), sessionsPath)
    {
    }

    /// <summary>One in memory where the system has such a folder, for thousands of openings.</summary>
    public static LogRig InMemory() => new(new TempFolder(MemoryPath), sessionsPath: null);

    private LogRig(TempFolder folder, string? sessionsPath)
        : this(folder.Path, sessionsPath) => _folder = folder;

    private LogRig(string path, string? sessionsPath)
    {
        Path = path;
        ImagePath = System.IO.Path.Combine(path, "vm.raw");
        TempPath = System.IO.Path.Combine(path, "vm.raw.nightly.fleece-kept-temp");
        File.WriteAllBytes(ImagePath, [1]);
        File.WriteAllBytes(TempPath, [2]);
        Sessions = SessionFolder.Open(sessionsPath ?? System.IO.Path.Combine(path, "sessions"));
    }

    public string Path { get; }

    public string ImagePath { get; }

    public string TempPath { get; }

    public SessionFolder Sessions { get; }

    /// <summary>One whose folder is another's.</summary>
    public static LogRig In(string path) => new(path, sessionsPath: null);

    public static UnixFileMode ModeOf(string path) => OperatingSystem.IsWindows() ? default : File.GetUnixFileMode(path);

    public SessionDescription Describe(params string[] consumers) => new()
    {
        Id = Guid.NewGuid(),
        LeaderId = Guid.Empty,
        DiskName = "vm",
        ImagePath = ImagePath,
        ImageFormat = ImageFormat.Raw,
        ImageFileId = FileEvidence.Read(ImagePath).FileId,
        DiskSizeBytes = DiskBytes,
        SessionName = "nightly",
        InstantId = Guid.NewGuid(),
        GranuleSizeBytes = 4096,
        OnCopyError = CopyErrorPolicy.BreakGuestWrite,
        CopyTimeout = TimeSpan.FromSeconds(3),
        TempLimitBytes = 1L << 30,
        TempWarningPercent = 70,
        MaxGuestDelay = TimeSpan.FromMilliseconds(20),
        Consumers = consumers,
        TempPath = TempPath,
        TempFormat = ImageFormat.Raw,
        TempFileId = FileEvidence.Read(TempPath).FileId,
        IsTempOwned = true,
        TempReadsAsZero = true,
        PinnedBitmap = "nightly",
        BaselineId = Guid.NewGuid(),
    };

    public SessionLog Create(PointInTimeMaps? denied = null, params string[] consumers) =>
        SessionLog.Create(Sessions, Describe(consumers), denied);

    /// <summary>Reads a log that no session has, and leaves it as it is.</summary>
    public string Read(Guid id)
    {
        StoredSession stored = Sessions.Find(id)!;
        if (stored.TakeOver(out string? fault) is not var (log, maps))
        {
            throw new InvalidOperationException(fault);
        }

        using (log)
        {
            return Facts(stored, maps);
        }
    }

    /// <summary>All that a reader finds, as text.</summary>
    public static string Facts(StoredSession stored, PointInTimeMaps maps)
    {
        StringBuilder facts = new();
        facts.AppendLine(Encoding.UTF8.GetString(SessionDescriptionFormat.Encode(stored.Description!)));
        facts.AppendLine(CultureInfo.InvariantCulture, $"{stored.State} {stored.StartedAt:O} {stored.BootId} {stored.Evidence}");
        facts.AppendLine(CultureInfo.InvariantCulture, $"{stored.BrokenBy?.Kind} {stored.BrokenBy?.Message} {stored.LostReason}");
        return facts.Append(Facts(maps)).ToString();
    }

    /// <summary>Maps as text.</summary>
    public static string Facts(PointInTimeMaps maps)
    {
        StringBuilder facts = new();
        foreach (GranuleMap? map in SessionMapsFormat.InOrder(maps))
        {
            GranuleRun all = new(0, maps.GranuleCount);
            facts.Append(map is null ? "none" : "runs");
            for (long start = map?.FirstIn(all) ?? all.End; start < all.End;)
            {
                long end = map!.FirstNotIn(all with { Start = start });
                facts.Append(CultureInfo.InvariantCulture, $" {start}-{end}");
                start = map.FirstIn(all with { Start = end });
            }

            facts.AppendLine();
        }

        return facts.ToString();
    }

    public void Dispose() => _folder?.Dispose();
}
