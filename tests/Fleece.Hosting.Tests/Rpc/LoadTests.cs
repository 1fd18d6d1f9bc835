// SPDX-License-Identifier: MIT
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Runtime.Loader;
using Fleece.Block;
using Fleece.Hosting.Rpc;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Rpc;

/// <summary>Fleece.Rpc and the libraries under it meet no other module's copies.</summary>
public sealed class LoadTests
{
    private static readonly string Folder = Path.GetDirectoryName(RpcLibrary.ExpectedPath)!;

    [Fact]
    public async Task Only_its_own_context_has_what_it_needs()
    {
        // A call, so that all that a call needs is loaded.
        await using RpcPair pair = await RpcPair.OpenAsync();
        await pair.Client.CallAsync<int>("AddAsync", new { left = 1, right = 1 }, TestContext.Current.CancellationToken);

        string[] names = [.. Directory.GetFiles(Folder, "*.dll").Select(path => Path.GetFileNameWithoutExtension(path))];
        Assert.Contains("StreamJsonRpc", names);
        Assert.DoesNotContain(AssemblyLoadContext.Default.Assemblies, assembly => names.Contains(assembly.GetName().Name));
        Assert.Contains(AssemblyLoadContext.GetLoadContext(RpcLibrary.Load().GetType().Assembly)!.Assemblies,
            assembly => assembly.GetName().Name == "StreamJsonRpc");
    }

    [Fact]
    public void All_that_it_refers_to_lies_beside_it_or_in_the_framework()
    {
        string framework = Path.GetDirectoryName(typeof(object).Assembly.Location)!;
        string[] shared = ["Fleece.Block", "Fleece.Hosting"];
        foreach (string path in Directory.GetFiles(Folder, "*.dll"))
        {
            using PEReader file = new(File.OpenRead(path));
            MetadataReader metadata = file.GetMetadataReader();
            IEnumerable<string> names = metadata.AssemblyReferences
                .Select(handle => metadata.GetString(metadata.GetAssemblyReference(handle).Name));
            Assert.All(names, name => Assert.True(
                shared.Contains(name) || File.Exists(Path.Combine(Folder, name + ".dll")) || File.Exists(Path.Combine(framework, name + ".dll")),
                $"{Path.GetFileName(path)} refers to {name}."));
        }
    }

    [Fact]
    public void One_that_is_not_there_is_an_error_that_names_the_file()
    {
        using TempFolder folder = new();
        string path = folder.File(RpcLibrary.FileName);

        BlockException error = Assert.Throws<BlockException>(() => RpcLibrary.Load(path));

        Assert.Equal(BlockErrors.NotFound, error.Kind);
        Assert.Equal(path, error.Path);
    }

    [Fact]
    public async Task A_file_that_is_no_assembly_is_an_error_that_names_it()
    {
        using TempFolder folder = new();
        string path = folder.File(RpcLibrary.FileName);
        await File.WriteAllTextAsync(path, "text", TestContext.Current.CancellationToken);

        BlockException error = Assert.Throws<BlockException>(() => RpcLibrary.Load(path));

        Assert.Equal(BlockErrors.Unsupported, error.Kind);
        Assert.Equal(path, error.Path);
    }
}
