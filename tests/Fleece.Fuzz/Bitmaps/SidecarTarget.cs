// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Fuzz.Images;
using Fleece.TestKit;

namespace Fleece.Fuzz.Bitmaps;

/// <summary>The file beside an image that keeps its bitmaps.</summary>
/// <remarks>
/// The oracle, where checksums are left as they are: the file is refused, or each of its bitmaps is not trusted or holds exactly what
/// its name says. The image is taken for the one that the sidecar describes, so only the sidecar's own bytes can give a damage away.
/// With mended checksums it is refused or read within the bounds of a target; what its bits are is then the forger's word.
/// </remarks>
internal sealed class SidecarTarget(bool isMended) : FuzzTarget
{
    private const int DirectoryBytes = SidecarDirectory.MaximumBytes;

    // An image for the sidecar to lie beside.
    private static readonly Lazy<string> ImagePath = new(() =>
    {
        TempFolder folder = new();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        string path = folder.File("vm.raw");
        File.WriteAllBytes(path, []);
        return path;
    });

    /// <inheritdoc/>
    public override string Name => isMended ? "sidecar-mended" : "sidecar";

    /// <inheritdoc/>
    public override int SmokeCases => 500;

    /// <inheritdoc/>
    protected override string CorpusName => "sidecar";

    /// <inheritdoc/>
    public override IReadOnlyList<byte[]> Seeds() => [.. base.Seeds().Select(SparseForm.Unpack)];

    /// <inheritdoc/>
    public override byte[] Pack(byte[] input) => SparseForm.Pack(input);

    /// <inheritdoc/>
    public override byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds)
    {
        byte[] file = base.Make(random, seeds);
        if (random.Chance(30))
        {
            MovePage(random, file, seeds[random.Next(seeds.Count)]);
        }

        if (isMended)
        {
            Mend(file);
        }

        return file;
    }

    /// <inheritdoc/>
    protected override ValueTask JudgeAsync(byte[] input)
    {
        File.WriteAllBytes(Sidecar.PathFor(ImagePath.Value), SparseForm.Unpack(input));
        try
        {
            using Sidecar sidecar = Sidecar.Open(ImagePath.Value, isReadOnly: true)!;
            foreach (SidecarEntry entry in sidecar.Directory.Entries)
            {
                (DirtyBitmap bits, string? reason) = sidecar.Areas.Load(entry, SidecarCorpus.DiskBytes, fault: null);
                if (reason is null ? !isMended && !SidecarCorpus.Holds(entry.Name, bits) : bits.DirtyBytes != 0)
                {
                    throw new FuzzFindingException(
                        $"The bitmap '{entry.Name}' has {bits.DirtyBytes} dirty bytes, and is {reason ?? "trusted"}.");
                }
            }
        }
        catch (BlockException refusal) when (refusal.Kind == DiskErrors.BitmapStoreUnusable)
        {
            return default;
        }

        return default;
    }

    // Whole pages in other places, of this file or of another: what storage does that loses or misdirects a write.
    private static void MovePage(Seeds random, byte[] file, byte[] from)
    {
        int pages = Math.Min(file.Length, from.Length) / SidecarPage.LengthBytes;
        if (pages != 0)
        {
            from = random.Chance(50) ? file : from;
            int at = random.Next(pages) * SidecarPage.LengthBytes;
            from.AsSpan(random.Next(pages) * SidecarPage.LengthBytes, SidecarPage.LengthBytes).CopyTo(file.AsSpan(at));
        }
    }

    private static void Mend(byte[] file)
    {
        for (int at = 0; at <= DirectoryBytes && at + 88 <= file.Length; at += DirectoryBytes)
        {
            Span<byte> directory = file.AsSpan(at);
            int usedBytes = BinaryPrimitives.ReadInt32LittleEndian(directory[24..]);
            if (usedBytes >= 88 && usedBytes <= directory.Length)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(directory[12..], Crc32C.OfSealed(directory[..usedBytes], 12));
                MendAreas(file, SidecarDirectory.Decode(directory[..usedBytes]));
            }
        }
    }

    private static void MendAreas(byte[] file, SidecarDirectory? directory)
    {
        foreach (SidecarEntry entry in directory?.Entries ?? [])
        {
            long lengthBytes = SidecarArea.LengthFor(DirtyBitmap.CountBits(SidecarCorpus.DiskBytes, entry.GranularityBytes));
            for (long at = 0; at < lengthBytes && entry.DataOffsetBytes <= file.Length - at - SidecarPage.LengthBytes;
                at += SidecarPage.LengthBytes)
            {
                Span<byte> page = file.AsSpan((int)(entry.DataOffsetBytes + at), SidecarPage.LengthBytes);
                SidecarPage.Seal(page, entry.AreaId, at / SidecarPage.LengthBytes);
            }
        }
    }
}
