// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.Loader;
using Fleece.Block;
using Fleece.Images.Qcow2.Compression;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Qcow2;

/// <summary>Both codecs over single clusters, and the way zstd's library is loaded.</summary>
public sealed class CompressionCodecTests : IDisposable
{
    private const int ClusterBytes = 64 * 1024;

    private readonly TempFolder _folder = new();

    public static TheoryData<ImageCompression> Codecs => [ImageCompression.Zlib, ImageCompression.Zstd];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Codecs))]
    public void A_cluster_comes_back_as_it_was_whatever_stands_behind_its_data(ImageCompression compression)
    {
        IClusterCodec codec = Find(compression);
        Seeds seeds = Seeds.FromEnvironment();
        byte[] cluster = Text(seeds);
        byte[] target = new byte[ClusterBytes];

        Assert.True(codec.TryCompress(cluster, target, ClusterBytes, out int lengthBytes));
        Assert.InRange(lengthBytes, 1, ClusterBytes / 2);
        seeds.Bytes(ClusterBytes - lengthBytes).CopyTo(target, lengthBytes);
        byte[] back = new byte[ClusterBytes];

        Assert.True(codec.TryDecompress(target, ClusterBytes, back));
        Assert.Equal(cluster, back);
    }

    [Theory]
    [MemberData(nameof(Codecs))]
    public void What_does_not_get_smaller_is_refused_without_an_exception(ImageCompression compression)
    {
        byte[] cluster = Seeds.FromEnvironment().Bytes(ClusterBytes);

        Assert.False(Find(compression).TryCompress(cluster, new byte[ClusterBytes], ClusterBytes - 1, out int lengthBytes));
        Assert.Equal(0, lengthBytes);
    }

    [Theory]
    [MemberData(nameof(Codecs))]
    public void Data_that_is_cut_or_damaged_is_refused_or_makes_a_cluster_and_never_throws(ImageCompression compression)
    {
        IClusterCodec codec = Find(compression);
        Seeds seeds = Seeds.FromEnvironment();
        byte[] whole = new byte[ClusterBytes];
        Assert.True(codec.TryCompress(Text(seeds), whole, ClusterBytes, out int lengthBytes));
        byte[] back = new byte[ClusterBytes];

        Assert.False(codec.TryDecompress(whole, 0, back));
        Assert.False(codec.TryDecompress(whole, lengthBytes / 2, back));
        for (int i = 0; i < 2000; i++)
        {
            byte[] damaged = (byte[])whole.Clone();
            for (int flips = seeds.Next(4); flips >= 0; flips--)
            {
                damaged[seeds.Next(lengthBytes)] ^= (byte)(1 << seeds.Next(8));
            }

            _ = codec.TryDecompress(damaged, lengthBytes, back);
        }
    }

    [Theory]
    [MemberData(nameof(Codecs))]
    public async Task Many_threads_share_one_codec(ImageCompression compression)
    {
        IClusterCodec codec = Find(compression);
        Seeds seeds = Seeds.FromEnvironment();
        byte[][] clusters = [.. Enumerable.Range(0, 8).Select(_ => Text(seeds))];

        await Parallel.ForEachAsync(Enumerable.Range(0, 200), (i, _) =>
        {
            byte[] target = new byte[ClusterBytes];
            byte[] back = new byte[ClusterBytes];
            Assert.True(codec.TryCompress(clusters[i % 8], target, ClusterBytes, out int lengthBytes));
            Assert.True(codec.TryDecompress(target, lengthBytes, back));
            Assert.Equal(clusters[i % 8], back);
            return default;
        });
    }

    // Method: an assembly of the same name and another version is made and put where PowerShell puts other modules' copies.
    [Fact]
    public void Another_ZstdSharp_in_the_default_context_is_left_alone_and_changes_nothing()
    {
        string path = Path.Combine(_folder.Path, "ZstdSharp.dll");
        PersistedAssemblyBuilder builder = new(new AssemblyName("ZstdSharp, Version=0.1.0.0"), typeof(object).Assembly);
        builder.DefineDynamicModule("ZstdSharp").DefineType("ZstdSharp.Unsafe.Methods", TypeAttributes.Public).CreateType();
        builder.Save(path);

        Assembly other = AssemblyLoadContext.Default.LoadFromStream(new MemoryStream(File.ReadAllBytes(path)));
        byte[] target = new byte[ClusterBytes];
        Assert.True(Find(ImageCompression.Zstd).TryCompress(new byte[ClusterBytes], target, ClusterBytes, out _));

        Assert.Same(other, Assembly.Load("ZstdSharp"));
        Assert.Equal([other], AssemblyLoadContext.Default.Assemblies.Where(assembly => assembly.GetName().Name == "ZstdSharp"));

        // Another test loads a library of another name into a context of its own.
        Assembly ours = AssemblyLoadContext.All.Where(context => context.Name == "Fleece.Zstd")
            .SelectMany(context => context.Assemblies).First(assembly => assembly.GetName().Name == "ZstdSharp");
        Assert.NotEqual(other.GetName().Version, ours.GetName().Version);
    }

    [Fact]
    public void A_missing_library_is_an_error_that_names_the_file()
    {
        object failure = ZstdCodec.Load(Path.Combine(_folder.Path, "ZstdSharp.dll"));
        BlockException error = ZstdCodec.Missing("vm.qcow2", Assert.IsType<FileNotFoundException>(failure));

        Assert.Equal(BlockErrors.Unsupported, error.Kind);
        Assert.Contains(ZstdLibrary.ExpectedPath, error.Message, StringComparison.Ordinal);
        Assert.Contains("vm.qcow2", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_another_library_is_refused()
    {
        Assert.IsType<TypeLoadException>(ZstdCodec.Load(typeof(Seeds).Assembly.Location));
        string text = _folder.NewFile(".dll");
        File.WriteAllText(text, "no assembly");
        Assert.IsType<BadImageFormatException>(ZstdCodec.Load(text));
    }

    private static IClusterCodec Find(ImageCompression compression) => ClusterCodecs.Find("test.qcow2", compression);

    private static byte[] Text(Seeds seeds)
    {
        byte[] cluster = new byte[ClusterBytes];
        for (int i = 0; i < cluster.Length; i++)
        {
            cluster[i] = (byte)('a' + seeds.Next(4));
        }

        return cluster;
    }
}
