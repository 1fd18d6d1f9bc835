// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Images;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.TestKit;

namespace Fleece.Fuzz.Images;

/// <summary>An image format: the file is described, opened, walked, read, checked and written to.</summary>
/// <remarks>
/// The oracle: whatever the bytes are, it is refused with an error an image deserves, or the status runs cover the disk and say
/// zeros only for zeros, reads stay within it and give the same twice. A check refuses what it can't examine and has changed
/// nothing then; what a repair says is left, the next check finds. What a check finds nothing wrong with keeps its content through a
/// repair, keeps what is written into it, and all the rest, when it is closed and opened again, and has no corruption then.
/// </remarks>
internal sealed class ImageTarget : FuzzTarget
{
    private const int MaximumRuns = 4000;
    private const int SampleBytes = 4096;
    private const int SampleCount = 24;

    private static readonly string[] Refusals =
    [
        ImageErrors.WrongFormat, ImageErrors.Corrupt, BlockErrors.Truncated, BlockErrors.Unsupported,
        ImageErrors.EmptyImage, ImageErrors.BadImageSize,

        // A parent that is not there, is none, or may not be read.
        BlockErrors.NotFound, BlockErrors.NotAFile, BlockErrors.PermissionDenied, BlockErrors.InvalidArgument,
    ];

    // A place for chains to begin at, with the parent of the corpus. It is no image itself.
    private static readonly Lazy<TempFolder> Folder = new(() =>
    {
        TempFolder folder = new();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        return folder;
    });

    private readonly IImageDriver _driver;
    private readonly Lazy<string> _path;

    public ImageTarget(IImageDriver driver)
    {
        _driver = driver;
        _path = new(() =>
        {
            string path = Folder.Value.File("image." + Name);
            File.WriteAllBytes(path, []);
            string parent = Path.Combine(AppContext.BaseDirectory, "Corpus", Name, CorpusImages.ParentName + ".bin");
            if (File.Exists(parent))
            {
                File.WriteAllBytes(
                    Folder.Value.File($"{CorpusImages.ParentName}.{Name}"), SparseForm.Unpack(File.ReadAllBytes(parent)));
            }

            return path;
        });
    }

    /// <inheritdoc/>
    public override string Name => _driver.Format.ToString().ToLowerInvariant();

    /// <inheritdoc/>
    public override int SmokeCases => 500;

    /// <inheritdoc/>
    public override IReadOnlyList<byte[]> Seeds() => [.. base.Seeds().Select(SparseForm.Unpack)];

    /// <inheritdoc/>
    public override byte[] Pack(byte[] input) => SparseForm.Pack(input);

    /// <inheritdoc/>
    public override byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds)
    {
        byte[] file = base.Make(random, seeds);
        if (random.Chance(70))
        {
            Checksums.Mend(file);
        }

        return file;
    }

    /// <inheritdoc/>
    protected override async ValueTask JudgeAsync(byte[] input)
    {
        byte[] bytes = SparseForm.Unpack(input);
        Seeds random = new(BitConverter.ToUInt64(SHA256.HashData(SparseForm.Pack(bytes))));
        Describe(bytes);
        byte[]?[]? samples = await TryAsync(isReadOnly: true, bytes, random, before: null).ConfigureAwait(false);
        bool isSound = Check(NewFile(bytes, isReadOnly: true), ImageRepair.None) is { IsClean: true };
        await RepairAsync(bytes, isSound ? samples : null).ConfigureAwait(false);
        await TryAsync(isReadOnly: false, bytes, random, isSound ? samples : null).ConfigureAwait(false);
    }

    private static bool Deserves(BlockException exception) => Refusals.Contains(exception.Kind);

    private MemoryFile NewFile(byte[] bytes, bool isReadOnly) =>
        new(_path.Value, bytes, isReadOnly);

    private IBlockNode Open(MemoryFile file) => _driver.Open(
        file, new ImageOpenOptions { Format = _driver.Format, IsReadOnly = file.IsReadOnly }, new ImageChain(_path.Value, ImageDrivers.Find));

    private void Describe(byte[] bytes)
    {
        try
        {
            ImageInfo info = _driver.Describe(NewFile(bytes, isReadOnly: true), new ImageInfo
            {
                Path = _path.Value,
                Format = _driver.Format,
                SizeBytes = bytes.Length,
                FileSizeBytes = bytes.Length,
                AllocatedBytes = bytes.Length,
            });
            Require(info.SizeBytes > 0, $"It is described as a disk of {info.SizeBytes} bytes.");
        }
        catch (BlockException refusal) when (Deserves(refusal))
        {
            return;
        }
    }

    // Null where the image is too damaged to be examined, or is none that can be.
    private ImageReport? Check(MemoryFile file, ImageRepair repair)
    {
        try
        {
            ImageReport report = _driver.Check(file, repair, CancellationToken.None);
            Require(
                report.LeakCount >= 0 && report.CorruptionCount >= 0 && report.Findings.Count <= ImageReport.MaximumFindings,
                $"It reports {report.LeakCount} leaks, {report.CorruptionCount} corruptions, {report.Findings.Count} findings.");
            Require(
                report.IsClean == report.Findings.All(finding => finding.IsRepaired)
                    || report.Findings.Count == ImageReport.MaximumFindings,
                $"What it finds clean ({report.IsClean}) is not what its findings say.");
            return report;
        }
        catch (BlockException refusal) when (Deserves(refusal) || (!file.IsReadOnly && refusal.Kind == BlockErrors.NoSpace))
        {
            Require(
                refusal.Kind == BlockErrors.NoSpace || !file.IsChanged, $"It was refused after it was changed: {refusal.Message}");
            return null;
        }
    }

    // What a repair says of the image is what the next check says; what was sound keeps its content.
    private async ValueTask RepairAsync(byte[] bytes, byte[]?[]? before)
    {
        foreach (ImageRepair repair in (ImageRepair[])[ImageRepair.Leaks, ImageRepair.All])
        {
            MemoryFile file = NewFile(bytes, isReadOnly: false);
            if (Check(file, repair) is not { } report)
            {
                continue;
            }

            byte[] repaired = file.IsChanged ? file.ToArray() : bytes;
            ImageReport? again = Check(NewFile(repaired, isReadOnly: true), ImageRepair.None);
            Require(
                again is not null && again.CorruptionCount == report.CorruptionCount && again.LeakCount == report.LeakCount,
                $"After a repair of {repair} {report.CorruptionCount} corruptions and {report.LeakCount} leaks are said to be left, and a " +
                $"check says {again?.CorruptionCount} and {again?.LeakCount}: {(again?.Findings is [var first, ..] ? first.Message : "nothing")}");
            if (before is not null)
            {
                await using IBlockNode node = Open(NewFile(repaired, isReadOnly: true));
                Compare(node, before, await ReadAsync(node).ConfigureAwait(false), $"after a repair of {repair}");
            }
        }
    }

    // Null where the image was refused, else what the samples hold; null for one that can't be read.
    private async ValueTask<byte[]?[]?> TryAsync(bool isReadOnly, byte[] bytes, Seeds random, byte[]?[]? before)
    {
        MemoryFile file = NewFile(bytes, isReadOnly);
        IBlockNode node;
        try
        {
            node = Open(file);
        }
        catch (BlockException refusal) when (Deserves(refusal) || (!isReadOnly && refusal.Kind == BlockErrors.NoSpace))
        {
            return null;
        }

        if (isReadOnly)
        {
            byte[]?[] samples = await ReadAsync(node).ConfigureAwait(false);
            await node.DisposeAsync().ConfigureAwait(false);
            return samples;
        }

        bool isStored = await WriteAsync(node, random, before).ConfigureAwait(false);
        if (isStored && before is not null)
        {
            byte[] written = file.ToArray();
            await using (IBlockNode again = Open(NewFile(written, isReadOnly: true)))
            {
                Compare(again, before, await ReadAsync(again).ConfigureAwait(false), "after writing");
            }

            ImageReport? report = Check(NewFile(written, isReadOnly: true), ImageRepair.None);
            Require(
                report is { CorruptionCount: 0 },
                $"Writing damaged it: {report?.Findings.FirstOrDefault(finding => finding.Kind == ImageFindingKind.Corruption)?.Message}");
        }

        return null;
    }

    private static void Compare(IBlockNode node, byte[]?[] before, byte[]?[] after, string when)
    {
        for (int index = 0; index < before.Length; index++)
        {
            Require(
                before[index].AsSpan().SequenceEqual(after[index]),
                $"Sample {index} at {SampleAt(node, index)} is not what was there or written, {when}.");
        }
    }

    private static async ValueTask<byte[]?[]> ReadAsync(IBlockNode node)
    {
        await WalkAsync(node).ConfigureAwait(false);
        byte[]?[] samples = new byte[]?[SampleCount];
        for (int index = 0; index < SampleCount; index++)
        {
            samples[index] = await TryReadAsync(node, SampleAt(node, index), SampleLength(node, index)).ConfigureAwait(false);
        }

        return samples;
    }

    private static async ValueTask WalkAsync(IBlockNode node)
    {
        long sizeBytes = node.Geometry.LengthBytes;
        Require(sizeBytes > 0, $"The disk has {sizeBytes} bytes.");
        long atBytes = 0;
        for (int runs = 0; atBytes < sizeBytes && runs < MaximumRuns; runs++)
        {
            BlockStatusRun run;
            try
            {
                run = await node.GetStatusAsync(atBytes, sizeBytes - atBytes, CancellationToken.None).ConfigureAwait(false);
            }
            catch (BlockException damage) when (Deserves(damage))
            {
                return;
            }

            Require(
                run.LengthBytes > 0 && run.LengthBytes <= sizeBytes - atBytes, $"A run of {run.LengthBytes} bytes at {atBytes}.");
            int lookBytes = (int)Math.Min(run.LengthBytes, SampleBytes);
            byte[]? content = runs < 200 ? await TryReadAsync(node, atBytes, lookBytes).ConfigureAwait(false) : null;
            Require(
                !run.ReadsAsZero || content is null || !content.AsSpan().ContainsAnyExcept((byte)0),
                $"A run at {atBytes} is said to be {run.Status} and is not zeros.");
            atBytes += run.LengthBytes;
        }
    }

    // Null where the image is too damaged to be read there.
    private static async ValueTask<byte[]?> TryReadAsync(IBlockNode node, long offsetBytes, int lengthBytes)
    {
        byte[] first = new byte[lengthBytes];
        byte[] second = new byte[lengthBytes];
        try
        {
            await node.ReadAsync(offsetBytes, first, CancellationToken.None).ConfigureAwait(false);
            await node.ReadAsync(offsetBytes, second, CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException damage) when (Deserves(damage))
        {
            return null;
        }

        Require(first.AsSpan().SequenceEqual(second), $"Two reads at {offsetBytes} differ.");
        return first;
    }

    // False when the image had no room for it, or was damaged enough to be refused half-way.
    private static async ValueTask<bool> WriteAsync(IBlockNode node, Seeds random, byte[]?[]? samples)
    {
        try
        {
            for (int index = 0; index < SampleCount; index += 3)
            {
                byte[] data = random.Bytes(SampleLength(node, index));
                if (random.Chance(30))
                {
                    Array.Clear(data);
                    await node.WriteZeroesAsync(SampleAt(node, index), data.Length, WriteFlags.None, CancellationToken.None)
                        .ConfigureAwait(false);
                }
                else
                {
                    await node.WriteAsync(SampleAt(node, index), data, WriteFlags.None, CancellationToken.None)
                        .ConfigureAwait(false);
                }

                if (samples is not null)
                {
                    samples[index] = data;
                }
            }

            await node.FlushAsync(CancellationToken.None).ConfigureAwait(false);
            await node.DisposeAsync().ConfigureAwait(false);
            return true;
        }
        catch (BlockException refusal) when (Deserves(refusal) || refusal.Kind == BlockErrors.NoSpace)
        {
            await CloseAsync(node).ConfigureAwait(false);
            return false;
        }
    }

    private static async ValueTask CloseAsync(IBlockNode node)
    {
        try
        {
            await node.DisposeAsync().ConfigureAwait(false);
        }
        catch (BlockException failure) when (Deserves(failure) || failure.Kind == BlockErrors.NoSpace)
        {
            return;
        }
    }

    // Samples lie at even distances from the first byte to the last, begin at odd places and never overlap.
    private static long SampleAt(IBlockNode node, int index) =>
        (node.Geometry.LengthBytes / SampleCount * index) + (SampleLength(node, index) > 1 ? 1 : 0);

    private static int SampleLength(IBlockNode node, int index)
    {
        long partBytes = node.Geometry.LengthBytes / SampleCount;
        return (int)Math.Clamp(partBytes - 1 - (index % 7), 1, SampleBytes);
    }

    private static void Require(bool holds, string otherwise)
    {
        if (!holds)
        {
            throw new FuzzFindingException(otherwise);
        }
    }
}
