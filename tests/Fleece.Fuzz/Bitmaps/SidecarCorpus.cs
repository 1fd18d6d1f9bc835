// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.TestKit;

namespace Fleece.Fuzz.Bitmaps;

/// <summary>Sidecars whose bitmaps say in their names what they hold, so that the oracle needs nothing but the file.</summary>
/// <remarks>They are kept as files because areas get random ids, and the smoke's inputs are always the same.</remarks>
internal static class SidecarCorpus
{
    /// <summary>Size of the disk of a sidecar, which its directory says too.</summary>
    public const long DiskBytes = 300L << 20;

    /// <summary>True when the bits are those that the name promises: "every-N-from-K".</summary>
    public static bool Holds(string name, DirtyBitmap bits)
    {
        if (name.Split('-') is not ["every", var step, "from", var first] ||
            !long.TryParse(step, CultureInfo.InvariantCulture, out long every) ||
            !long.TryParse(first, CultureInfo.InvariantCulture, out long from) || every < 1)
        {
            return false;
        }

        for (long bit = 0; bit < bits.BitCount; bit++)
        {
            if (bits.IsDirty(bit * bits.GranularityBytes) != (bit >= from && (bit - from) % every == 0))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The files, each with its name.</summary>
    public static IEnumerable<(string Name, byte[] Bytes)> Make()
    {
        yield return ("empty", Make(isInUse: false, (65536, 1, long.MaxValue)));
        yield return ("closed", Make(isInUse: false, (65536, 7, 3), (1 << 20, 2, 0)));
        yield return ("in-use", Make(isInUse: true, (65536, 5, 1)));

        // Several pages, with holes between the written ones; full pages; and room that is given back between two areas.
        yield return ("pages", Make(isInUse: false, (4096, 70_000, 40_000), (4096, 1, 0), (4096, 16_000, 10)));
        yield return ("pages-in-use", Make(isInUse: true, (4096, 1, 0), (2048, 40_000, 33_000)));
    }

    private static byte[] Make(bool isInUse, params (long GranularityBytes, long Every, long From)[] bitmaps)
    {
        using TempFolder folder = new();
        string image = folder.File("vm.raw");
        File.WriteAllBytes(image, []);
        SidecarDirectory directory = new()
        {
            IsInUse = isInUse,
            BootId = Guid.Empty,
            DiskLengthBytes = DiskBytes,
            Image = new(7, DiskBytes, 8),
            Entries = [],
        };
        Sidecar sidecar = Sidecar.CreateBeside(image, directory);
        List<SidecarEntry> entries = [];
        foreach ((long granularityBytes, long every, long from) in bitmaps)
        {
            DirtyBitmap plan = new(DiskBytes, granularityBytes);
            SidecarArea spare = sidecar.Areas.Take(1);
            SidecarArea area = sidecar.Areas.Take(plan.BitCount);
            sidecar.Areas.Free(spare);
            DirtyBitmap bits = new(DiskBytes, granularityBytes, area);
            for (long bit = from; bit < plan.BitCount; bit += every)
            {
                bits.Mark(bit * granularityBytes, 1);
            }

            entries.Add(new SidecarEntry
            {
                Name = string.Create(CultureInfo.InvariantCulture, $"every-{every}-from-{from}"),
                GranularityBytes = granularityBytes,
                DataOffsetBytes = area.Range.OffsetBytes,
                AreaId = area.Id,
                Digest = isInUse ? 0 : area.Digest(bits),
                IsEnabled = every != 1,
                BaselineId = every == 7 ? new Guid(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11) : null,
            });
        }

        sidecar.Write(directory with { Entries = entries });
        string path = sidecar.Path;
        sidecar.Dispose();
        return File.ReadAllBytes(path);
    }
}
