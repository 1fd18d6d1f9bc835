// SPDX-License-Identifier: MIT
using System.IO.Compression;
using Fleece.Backups;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Block;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Fuzz.Manifests;

/// <summary>The manifest of a backup, in the place of one of a small repository.</summary>
/// <remarks>
/// <para>An input is a byte that names the repository and says whether the seal is mended, a byte for the manifest, and the manifest.</para>
/// <para>The oracle: never a wrong restore. Each backup, and the newest, is refused with an error that a manifest deserves, or restored as
/// what the disk was. Behind a mended seal, which anybody can make, a manifest may lie; there the error counts alone.</para>
/// </remarks>
internal sealed class ManifestTarget : FuzzTarget
{
    private const string InMemory = "/dev/shm";
    private const int HeaderBytes = 2;
    private const byte MendFlag = 0x80;
    private const int SealedRepository = 0;
    private const string Truth = ".truth";
    private const string Manifest = ".json";

    private static readonly string[] Repositories = ["sealed", "unsealed"];

    private static readonly string[] Refusals =
    [
        BackupErrors.ManifestInvalid, BackupErrors.BackupChainBroken, BackupErrors.BackupDigestMismatch,
        BackupErrors.BackupUnknown,

        // An image of the format that the manifest names is not there, or the file is none.
        BlockErrors.NotFound, ImageErrors.WrongFormat, ImageErrors.Corrupt, BlockErrors.Truncated,
        BlockErrors.Unsupported, ImageErrors.BadImageSize,
    ];

    private static readonly Lazy<TempFolder> Folder = new(() =>
    {
        // Restores are made durable, which costs far more than all else where files have a disk.
        TempFolder folder = new(Directory.Exists(InMemory) ? InMemory : null);
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        foreach (string name in Repositories)
        {
            ZipFile.ExtractToDirectory(
                Path.Combine(AppContext.BaseDirectory, "Corpus", "manifest", name + ".zip"), folder.File(name));
        }

        return folder;
    });

    /// <inheritdoc/>
    public override string Name => "manifest";

    /// <inheritdoc/>
    public override int SmokeCases => 300;

    /// <inheritdoc/>
    public override IReadOnlyList<byte[]> Seeds()
    {
        List<byte[]> seeds = [];
        for (int repository = 0; repository < Repositories.Length; repository++)
        {
            string[] manifests = ManifestsOf(repository);
            for (int index = 0; index < manifests.Length; index++)
            {
                byte[] text = File.ReadAllBytes(manifests[index]);
                seeds.Add([(byte)repository, (byte)index, .. text]);
                if (repository == SealedRepository)
                {
                    seeds.Add([(byte)(repository | MendFlag), (byte)index, .. text]);
                }
            }
        }

        return seeds;
    }

    /// <inheritdoc/>
    public override byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds)
    {
        byte[] seed = seeds[random.Next(seeds.Count)];
        byte[] text = seed[HeaderBytes..];
        byte[] mutated = random.Chance(40)
            ? Mutator.Mutate(random, [text])
            : LineMutator.Mutate(random, text, seeds[random.Next(seeds.Count)][HeaderBytes..]);
        return [.. seed.AsSpan(0, HeaderBytes), .. mutated];
    }

    /// <inheritdoc/>
    protected override async ValueTask JudgeAsync(byte[] input)
    {
        if (input.Length < HeaderBytes)
        {
            return;
        }

        bool isMended = (input[0] & MendFlag) != 0;
        string[] manifests = ManifestsOf((input[0] & ~MendFlag) % Repositories.Length);
        string path = manifests[input[1] % manifests.Length];
        byte[] before = await File.ReadAllBytesAsync(path).ConfigureAwait(false);
        byte[] text = input[HeaderBytes..];
        await File.WriteAllBytesAsync(path, isMended ? SealMending.Mend(text) : text).ConfigureAwait(false);
        try
        {
            string folder = Path.GetDirectoryName(path)!;
            foreach (string name in manifests.Select(manifest => Path.GetFileName(manifest)))
            {
                await JudgeAsync(folder, repository => repository.FindFile(name), isMended ? null : name).ConfigureAwait(false);
            }

            await JudgeAsync(folder, repository => repository.FindNewest(null), isMended ? null : Path.GetFileName(manifests[^1]))
                .ConfigureAwait(false);
        }
        finally
        {
            await File.WriteAllBytesAsync(path, before).ConfigureAwait(false);
        }
    }

    // The manifests of a repository, oldest first.
    private static string[] ManifestsOf(int repository) =>
        [.. Directory.GetFiles(Folder.Value.File(Repositories[repository]), "*" + Manifest).Order(StringComparer.Ordinal)];

    private static async ValueTask JudgeAsync(string folder, Func<Repository, BackupPoint> find, string? expected)
    {
        string path = Folder.Value.NewFile();
        try
        {
            BackupPoint point = find(RepositoryReader.Read(folder));
            await RestoreAsync(point, path).ConfigureAwait(false);
            if (expected is not null && !File.ReadAllBytes(path).AsSpan().SequenceEqual(
                File.ReadAllBytes(Path.ChangeExtension(Path.Combine(folder, expected), Truth))))
            {
                throw new FuzzFindingException($"'{expected}' was restored, as {point.Number}, to what the disk was not.");
            }
        }
        catch (BlockException e) when (Refusals.Contains(e.Kind))
        {
            return;
        }
        finally
        {
            File.Delete(path);
            File.Delete(path + ".partial");
            File.Delete(path + ".partial.progress");
        }
    }

    private static async ValueTask RestoreAsync(BackupPoint point, string path)
    {
        RestoreOptions options = new() { DestinationPath = path, Image = new ImageCreateOptions { Format = ImageFormat.Raw } };
        BackupRestore restore = await BackupRestore.OpenAsync(point, options).ConfigureAwait(false);
        await using (restore.ConfigureAwait(false))
        {
            while (await restore.StepAsync().ConfigureAwait(false))
            {
            }

            await restore.CompleteAsync().ConfigureAwait(false);
        }
    }
}
