// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.Images;

namespace Fleece.Disks.Tests.Lives;

/// <summary>The disks of one process of a life: it does the steps.</summary>
/// <remarks>
/// The folder of a life has the images, named DISK.EXTENSION, and the logs in "sessions". The steps:
/// <code>
/// mount:DISK.EXT         bitmap:DISK:NAME       start:NAME:TEMP:BITMAP:NEXT:DISK,DISK
/// write:DISK:SEED        zero:DISK:SEED         consume:DISK:NAME:SEED
/// flush:DISK             break:DISK:NAME        confirm:DISK:NAME:SEED
/// beat:DISK              refuse:DISK            (the marker beside its image takes no change from here on)
/// suspend:DISK           dismount:DISK          stop:DISK:NAME:success    stop:DISK:NAME:failure
/// </code>
/// TEMP is an extension, or "-" for a file that the session makes; "confirm" speaks for the consumer "one".
/// </remarks>
internal sealed class LifeDisks(string folder) : IAsyncDisposable
{
    private readonly Dictionary<string, Disk> _disks = [];

    /// <summary>The folder of the logs.</summary>
    public SessionFolder Sessions { get; } = SessionFolder.Open(Path.Combine(folder, "sessions"));

    /// <summary>A disk that is mounted.</summary>
    public Disk this[string name] => _disks[name];

    /// <summary>Does a step.</summary>
    public async Task DoAsync(string step)
    {
        string[] words = step.Split(':');
        switch (words)
        {
            case ["mount", var file]:
                string name = Path.GetFileNameWithoutExtension(file);
                _disks.Add(name, await Disk.OpenAsync(Path.Combine(folder, file), name, folder: Sessions));
                break;
            case ["bitmap", var disk, var bitmap]:
                await this[disk].Bitmaps.CreateAsync(bitmap);
                break;
            case ["write", var disk, var seed]:
                (long offsetBytes, byte[] data) = LifeSteps.WriteOf(seed);
                await this[disk].Device.WriteAsync(offsetBytes, data);
                break;
            case ["zero", var disk, var seed]:
                BlockRange zeroes = LifeSteps.RangeOf(seed);
                await this[disk].Device.WriteZeroesAsync(zeroes.OffsetBytes, zeroes.LengthBytes);
                break;
            case ["consume", var disk, var session, var seed]:
                BlockRange consumed = LifeSteps.RangeOf(seed);
                await Find(disk, session).Snapshot.DiscardAsync(consumed.OffsetBytes, consumed.LengthBytes);
                break;
            case ["confirm", var disk, var session, var seed]:
                BlockRange confirmed = LifeSteps.RangeOf(seed);
                await Find(disk, session).FindConsumer("one").Snapshot.DiscardAsync(confirmed.OffsetBytes, confirmed.LengthBytes);
                break;
            case ["flush", var disk]:
                await this[disk].Device.FlushAsync();
                break;
            case ["start", var session, var temp, var bitmap, var next, var disks]:
                await StartAsync(session, temp, bitmap, next, disks.Split(','));
                break;
            case ["stop", var disk, var session, var how]:
                await Find(disk, session).StopAsync(how == "success");
                break;
            case ["break", var disk, var session]:
                Find(disk, session).Point.Break(new BlockException(BlockErrors.CopyFailed, "It was broken by the test."));
                break;
            case ["beat", var disk]:
                this[disk].Witness.Beat();
                break;
            case ["refuse", var disk]:
                // As a file system without room: the new marker can't be written, and what lies in its place can't be removed.
                Directory.CreateDirectory(MarkerPartOf(this[disk].Path));
                break;
            case ["suspend", var disk]:
                await this[disk].SuspendAsync();
                _disks.Remove(disk);
                break;
            case ["dismount", var disk]:
                await this[disk].DisposeAsync();
                _disks.Remove(disk);
                break;
            default:
                throw new ArgumentException($"'{step}' is no step.");
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Disk disk in _disks.Values)
        {
            await disk.DisposeAsync();
        }
    }

    /// <summary>The name that a marker has until it is whole.</summary>
    public static string MarkerPartOf(string imagePath) => SessionMarker.PathFor(imagePath) + WholeFile.Partial;

    private Session Find(string disk, string session) => this[disk].FindSession(session)!;

    private async Task StartAsync(string session, string temp, string bitmap, string next, string[] disks)
    {
        await Session.StartEachAsync([.. disks.Select(disk => (this[disk], new SessionOptions
        {
            Name = session,
            TempPath = temp == "-" ? null : Path.Combine(folder, $"{disk}-{session}.{temp}"),
            Bitmap = bitmap == "-" ? null : bitmap,
            NextBitmap = next == "-" ? null : next,
            Consumers = session.StartsWith("counted", StringComparison.Ordinal) ? ["one", "two"] : [],
            Limits = new CopyLimits
            {
                TempBytes = 1L << 30, TempWarningPercent = 70, MaxGuestDelay = TimeSpan.FromMilliseconds(20),
            },
            Folder = Sessions,
        }))]);
    }
}
